//! The LSNs in the headers of the pages themselves.

use walbrook_delta::{PageLsnFilter, Span};
use walbrook_types::RelFile;

use super::Detector;
use crate::Result;
use crate::backup::source::session::{open, unexpected};

/// The `PG_VERSION` file of each directory that a database may have, and when it was written.
const DATABASES: &str = "SELECT p, floor(extract(epoch FROM (pg_stat_file(p, true)).modification))::int8 \
    FROM (SELECT CASE WHEN t.spcname = 'pg_default' THEN 'base/' ELSE 'pg_tblspc/' || t.oid || '/PG_' \
        || current_setting('server_version_num')::int / 10000 || '_' || c.catalog_version_no || '/' END \
        || d.oid || '/PG_VERSION' AS p \
        FROM pg_database d, pg_tablespace t, pg_control_system() c WHERE t.spcname <> 'pg_global') x";

impl Detector<'_> {
    /// A filter that trusts the databases whose directories are the very ones that the base has.
    pub(super) async fn page_lsn(&self, span: &Span) -> Result<PageLsnFilter> {
        let mut filter = PageLsnFilter::new(span);
        let (mut session, _) = open(&self.options.server).await?;
        let answer = session.simple_query(DATABASES).await?;
        // In the server's clock, as the files' times are.
        let begun = self.base.record().span.checkpoint_time.as_second();
        for row in answer.rows() {
            let path = row.get(0).ok_or_else(|| unexpected(session.peer(), DATABASES))?;
            let Some(modified) = row.get(1).and_then(|time| time.parse::<i64>().ok()) else {
                // No such directory.
                continue;
            };
            let Some(of_base) = self.base.lookup(path)? else { continue };
            // `PG_VERSION` is written when the directory is made, and never after. Two seconds, for
            // some clocks of file systems lag behind that of the server.
            if of_base.mtime() != modified || modified + 2 > begun {
                continue;
            }
            let relation = path.replace("PG_VERSION", "1");
            if let Some(RelFile { tablespace, database, .. }) = RelFile::from_path(&relation) {
                filter.trust_database(tablespace, database);
            }
        }
        Ok(filter)
    }
}
