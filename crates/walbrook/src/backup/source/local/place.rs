use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walbrook_page::ControlFile;
use walbrook_replication::Session;
use walbrook_types::{Lsn, SystemId};

use super::CONTROL_FILE;
use crate::backup::source::sql::session::{parsed, value};
use crate::backup::source::sql::{CONTROL_TRIES, is_torn};
use crate::{Error, ErrorKind, Result};

/// A directory that was found to be the data directory of a certain running server.
#[derive(Debug)]
pub(crate) struct DataDirectory(PathBuf);

/// How much later than its `postmaster.pid` says a server may report to have started: the file has
/// the time when the process began, the function the time when it was ready for connections.
const START_TOLERANCE: i64 = 300;

impl DataDirectory {
    /// Compares what the directory says with what the server does.
    pub(crate) async fn of(session: &mut Session, path: PathBuf) -> Result<Self> {
        let directory = Self(path);
        let id = "SELECT system_identifier FROM pg_control_system()";
        let system = SystemId(parsed::<i64>(session, id).await? as u64);
        let found = directory.control()?.system_id;
        if found != system {
            return Err(directory.foreign(&format!(
                "its system identifier is {found}, and that of the server at {} is {system}",
                session.peer()
            )));
        }
        let port: u32 = value(session, "SHOW port").await?.parse().unwrap_or_default();
        let started = "SELECT extract(epoch FROM pg_postmaster_start_time())::int8";
        let started: i64 = parsed(session, started).await?;
        directory.check_postmaster(port, started)?;
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// `postmaster.pid` has the process, the directory, the time of the start and the port, a line
    /// each (`LOCK_FILE_LINE_*` in PostgreSQL's `utils/pidfile.h`).
    fn check_postmaster(&self, port: u32, started: i64) -> Result<()> {
        let path = self.0.join("postmaster.pid");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.foreign("no server runs on it: it has no postmaster.pid"));
            }
            Err(e) => return Err(Error::io(format!("{} can't be read", path.display()), e)),
        };
        let mut lines = text.lines();
        let begun: Option<i64> = lines.nth(2).and_then(|line| line.trim().parse().ok());
        let on_port: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
        let same_start =
            begun.is_some_and(|begun| (-2..=START_TOLERANCE).contains(&(started - begun)));
        if same_start && on_port == Some(port) {
            return Ok(());
        }
        Err(self.foreign("its postmaster.pid is of another server, or of an earlier run"))
    }

    /// After a backup has begun: its checkpoint is in the server's `pg_control`, and no copy of
    /// the directory can have it.
    pub(crate) fn check_checkpoint(&self, start: Lsn) -> Result<()> {
        let redo = self.control()?.checkpoint.redo;
        if redo >= start {
            return Ok(());
        }
        Err(self.foreign(&format!(
            "the server's last checkpoint is at {start}, and that of the directory at {redo}"
        )))
    }

    /// The mode that its files have.
    pub(crate) fn file_mode(&self) -> Result<u32> {
        let metadata = self.0.metadata().map_err(|e| self.unreadable(&self.0, e))?;
        Ok(metadata.mode() & 0o640)
    }

    fn control(&self) -> Result<ControlFile> {
        let path = self.0.join(CONTROL_FILE);
        let mut tries = 0;
        let bytes = loop {
            tries += 1;
            let bytes = std::fs::read(&path).map_err(|e| self.unreadable(&path, e))?;
            if !is_torn(&bytes) || tries == CONTROL_TRIES {
                break bytes;
            }
        };
        ControlFile::parse(&bytes).map_err(|e| {
            let message = format!("{} is not valid: {e}", path.display());
            Error::new(ErrorKind::Invalid, message)
        })
    }

    fn unreadable(&self, path: &Path, error: std::io::Error) -> Error {
        Error::io(format!("{} can't be read", path.display()), error)
    }

    fn foreign(&self, why: &str) -> Error {
        let message = format!(
            "{} is not the data directory of the server that was connected to: {why}",
            self.0.display()
        );
        Error::new(ErrorKind::Invalid, message)
    }
}
