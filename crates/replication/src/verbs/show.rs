use super::ResultSet;
use crate::wire::quote_identifier;
use crate::{Error, Session};

impl Session {
    /// SHOW: a run-time parameter's value as the server prints it, such as `16MB` for
    /// `wal_segment_size`. Works in both kinds of session.
    pub async fn show(&mut self, parameter: &str) -> Result<String, Error> {
        // A setting of an extension has a dot between two identifiers.
        let name = parameter.split('.').map(quote_identifier).collect::<Vec<_>>().join(".");
        let rows = ResultSet::of(self.wire_mut(), &format!("SHOW {name}"), "SHOW").await?;
        rows.single("SHOW").map(str::to_owned)
    }
}
