//! Talking to a [`Cluster`] through `psql`, the client that users have.

use std::io::Write as _;
use std::process::Stdio;
use std::thread;

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};

/// Between columns: does not occur in the text that tests select.
const FIELD: &str = "\x1f";

impl Cluster {
    /// Runs statements in a database, and returns what they print: rows as lines,
    /// columns separated by `|`, no headers. Each statement is a transaction of its
    /// own unless the text has `BEGIN`; the first failure ends it.
    ///
    /// # Errors
    /// [`ErrorKind::Sql`] with the server's message.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let text = self.psql_with(database, sql, &[])?;
        Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
    }

    /// [`psql`](Self::psql) for statements whose output does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Sql`] with the server's message.
    pub fn psql_ok(&self, database: &str, sql: &str) -> Result<()> {
        self.psql(database, sql).map(drop)
    }

    /// The rows of a query as text, or of all queries one after the other; NULL is
    /// the empty string.
    ///
    /// # Errors
    /// [`ErrorKind::Sql`] with the server's message.
    pub fn query_rows(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        let text = self.psql_with(database, sql, &["-F", FIELD, "--record-separator-zero"])?;
        let fields = |record: &str| record.split(FIELD).map(str::to_owned).collect();
        Ok(text.split_terminator('\0').map(fields).collect())
    }

    fn psql_with(&self, database: &str, sql: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        command.args(["-d", database]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let fail = |e| Error::io("psql", e);
        let mut child = command.spawn().map_err(fail)?;
        let stdin = child.stdin.take();
        let output = thread::scope(|scope| {
            // From another thread, so that neither side waits for the other with a full pipe.
            scope.spawn(move || {
                if let Some(mut stdin) = stdin {
                    // psql closes its end on an error, which it tells itself.
                    let _ = stdin.write_all(sql.as_bytes());
                }
            });
            child.wait_with_output()
        });
        let output = output.map_err(fail)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::new(ErrorKind::Sql, format!("database {database}: {text}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The current WAL position in PostgreSQL's text form, such as `0/3000060`:
    /// the insert position on a primary, the replay position on a standby.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn current_lsn(&self) -> Result<String> {
        self.psql(
            "postgres",
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
             ELSE pg_current_wal_insert_lsn() END",
        )
    }

    /// Ends the current WAL segment, and returns its file name.
    ///
    /// # Errors
    /// When the server can't be asked, or is a standby.
    pub fn switch_wal(&self) -> Result<String> {
        // A switch at the very start of a segment would do nothing; a message makes it real.
        self.psql("postgres", "SELECT pg_logical_emit_message(false, 'walbrook-testkit', 'x')")?;
        self.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())")
    }

    /// Promotes a standby, or a server in recovery, and waits for it.
    ///
    /// # Errors
    /// When it is not in recovery, or is not promoted in 60 seconds.
    pub fn promote(&self) -> Result<()> {
        match self.psql("postgres", "SELECT pg_promote(true, 60)")?.as_str() {
            "t" => Ok(()),
            _ => Err(Error::new(ErrorKind::Timeout, "pg_promote: not promoted in 60 s")),
        }
    }
}
