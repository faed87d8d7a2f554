//! Reading the data directory on the server's own host.

mod lane;
mod listing;
mod place;

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use walbrook_replication::{Checkpoint, ConnInfo};
use walbrook_types::{TimelineId, WalFileName};

use self::place::DataDirectory;
use super::lanes::lanes;
use super::sql::session::open_first;
use super::sql::{
    CONTROL_PAUSE, CONTROL_TRIES, SqlBackup, check_grants, is_torn, required_locally, torn_control,
};
use super::walk::Walk;
use super::{FileContents, FileList, PageSource, Pieces, ReadRequest, SourceEnd, SourceStart};
use crate::backup::server::Server;
use crate::{Error, Result};

const CONTROL_FILE: &str = "global/pg_control";

/// Reads the server's data directory, which is on this machine, with several threads. What was
/// read does not stay in the page cache.
///
/// A connection begins and ends the backup. The directory must be the one of that server: its
/// system identifier, its `postmaster.pid` and, once the backup has begun, the checkpoint in its
/// `pg_control` must say so.
#[derive(Debug)]
pub struct LocalSource {
    backup: SqlBackup,
    directory: DataDirectory,
    jobs: usize,
}

impl LocalSource {
    /// Connects, and checks that the directory belongs to the server. `jobs` threads will read.
    pub async fn connect(info: &ConnInfo, directory: &Path, jobs: usize) -> Result<Self> {
        let (mut session, server) = open_first(info).await?;
        check_grants(&mut session, required_locally()).await?;
        let directory = DataDirectory::of(&mut session, directory.to_owned()).await?;
        let backup = SqlBackup::new(session, server).await?;
        Ok(Self { backup, directory, jobs: jobs.max(1) })
    }

    pub(crate) async fn server(&mut self) -> Result<Server> {
        Server::of_sql(self.backup.session()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl PageSource for LocalSource {
    async fn begin(&mut self, label: &str, checkpoint: Checkpoint) -> Result<SourceStart> {
        let mut start = self.backup.begin(label, checkpoint).await?;
        self.directory.check_checkpoint(start.lsn)?;
        self.backup.tablespaces = listing::tablespaces(self.directory.path())?;
        start.tablespaces.clone_from(&self.backup.tablespaces);
        Ok(start)
    }

    async fn timeline_history(&mut self, timeline: TimelineId) -> Result<Option<Vec<u8>>> {
        if timeline == TimelineId::FIRST {
            return Ok(None);
        }
        let path = self.path("pg_wal").join(WalFileName::TimelineHistory { timeline }.to_string());
        let content = std::fs::read(&path)
            .map_err(|e| Error::io(format!("{} can't be read", path.display()), e))?;
        Ok(Some(content))
    }

    async fn files(&mut self) -> Result<FileList> {
        let SqlBackup { version, catalog_version, tablespaces, .. } = &self.backup;
        let in_place = listing::in_place(self.directory.path())?;
        let mut walk = Walk::new(*version, *catalog_version, tablespaces, in_place);
        let root = self.directory.path().to_owned();
        tokio::task::spawn_blocking(move || {
            listing::walk(&root, &mut walk)?;
            walk.finish()
        })
        .await?
    }

    async fn read(&mut self, requests: mpsc::Receiver<ReadRequest>) -> Result<Pieces> {
        let checker = self.backup.checker()?;
        let (readers, pieces) = lanes(self.jobs, requests);
        for lane in readers {
            let (root, checker) = (self.directory.path().to_owned(), checker.clone());
            let runtime = tokio::runtime::Handle::current();
            // It ends when nobody holds the lane's other ends.
            tokio::task::spawn_blocking(move || lane::run(&root, lane, &checker, &runtime));
        }
        Ok(pieces)
    }

    async fn control_file(&mut self) -> Result<FileContents> {
        let path = self.path(CONTROL_FILE);
        for _ in 0..CONTROL_TRIES {
            let file = listing::small_file(&path)?;
            if !is_torn(&file.bytes) {
                return Ok(file);
            }
            tokio::time::sleep(CONTROL_PAUSE).await;
        }
        Err(torn_control())
    }

    async fn end(&mut self) -> Result<SourceEnd> {
        let mode = self.directory.file_mode()?;
        self.backup.end(mode).await
    }
}
