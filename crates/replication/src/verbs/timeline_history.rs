use bytes::Bytes;
use walbrook_types::TimelineId;

use super::ResultSet;
use crate::{Error, Session};

/// A timeline's history file as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineHistoryFile {
    /// The file's name, such as `00000002.history`.
    pub name: String,
    /// The file's content, unchanged.
    pub content: Bytes,
}

impl Session {
    /// TIMELINE_HISTORY: the history file of a timeline.
    ///
    /// Timeline 1 has none; the server then reports a missing file.
    pub async fn timeline_history(
        &mut self,
        timeline: TimelineId,
    ) -> Result<TimelineHistoryFile, Error> {
        const COMMAND: &str = "TIMELINE_HISTORY";
        let command = format!("{COMMAND} {timeline}");
        let rows = ResultSet::of(self.wire_mut(), &command, COMMAND).await?;
        let row = rows.only_row(COMMAND)?;
        let content = row.bytes(1).map(Bytes::copy_from_slice);
        Ok(TimelineHistoryFile {
            name: row.require(0, "history file's name")?,
            content: content
                .ok_or_else(|| Error::protocol("the server sent no timeline history"))?,
        })
    }
}
