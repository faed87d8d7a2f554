//! Reading a server's files by ordinary SQL.

mod grants;
mod lane;
mod listing;
pub(crate) mod session;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use walbrook_page::ControlFile;
use walbrook_replication::{Checkpoint, ConnInfo, Session};
use walbrook_repo::TablespaceRecord;
use walbrook_types::{Oid, PgVersion, TimelineId};

pub use grants::{REQUIRED_FUNCTIONS, grants};
pub(crate) use grants::{check as check_grants, required_locally};
pub(crate) use session::read_pieces;

use self::grants::start_statement;
use self::session::{SameServer, given_up, open_first, parsed, unexpected, value};
use super::check::Checker;
use super::lanes::lanes;
use super::side::Side;
use super::walk::Walk;
use super::{FileContents, FileList, PageSource, Pieces, ReadRequest, SourceEnd, SourceStart};
use crate::backup::server::Server;
use crate::{Error, ErrorKind, Result};

/// Reads over ordinary SQL connections: `pg_read_binary_file` by the batch, in a binary COPY.
///
/// One connection begins and ends the backup, one answers questions in between, and as many more
/// read. It needs nothing on the server but the functions of [`REQUIRED_FUNCTIONS`].
///
/// What SQL does not tell: files have the modes that the server gives to all of its own, and a
/// symbolic link in the data directory, outside of `pg_tblspc`, is followed.
#[derive(Debug)]
pub struct SqlSource {
    pub(crate) backup: SqlBackup,
    server: Arc<SameServer>,
    readers: Vec<Session>,
    directory_mode: u32,
    in_place: BTreeSet<Oid>,
}

/// A backup's begin and end by SQL, which every source but `BASE_BACKUP` has in common.
pub(crate) struct SqlBackup {
    session: Session,
    side: Arc<Side>,
    pub(crate) version: PgVersion,
    pub(crate) catalog_version: u32,
    data_checksums: bool,
    in_recovery: bool,
    pub(crate) tablespaces: Vec<TablespaceRecord>,
    pub(crate) checker: Option<Arc<Checker>>,
}

impl std::fmt::Debug for SqlBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlBackup").field("server", &self.session.peer()).finish_non_exhaustive()
    }
}

impl SqlSource {
    /// Connects, and sees that the role may do what is needed; if not, the error has the GRANTs.
    /// `jobs` connections will read, or fewer if the server has no more.
    pub async fn connect(info: &ConnInfo, jobs: usize) -> Result<Self> {
        let (mut session, server) = open_first(info).await?;
        check_grants(&mut session, &REQUIRED_FUNCTIONS).await?;
        let mode = value(&mut session, "SHOW data_directory_mode").await?;
        let directory_mode = u32::from_str_radix(&mode, 8)
            .map_err(|_| unexpected(session.peer(), "SHOW data_directory_mode"))?;
        let backup = SqlBackup::new(session, server.clone()).await?;
        let mut readers = vec![server.open_another().await?];
        while readers.len() < jobs {
            match server.open_another().await {
                Ok(session) => readers.push(session),
                // A backup with fewer is slower, and no worse.
                Err(error) => {
                    tracing::warn!(%error, readers = readers.len(), "no more connections");
                    break;
                }
            }
        }
        Ok(Self { backup, server, readers, directory_mode, in_place: BTreeSet::new() })
    }

    pub(crate) async fn server(&mut self) -> Result<Server> {
        Server::of_sql(&mut self.backup.session).await
    }
}

impl SqlBackup {
    pub(crate) async fn new(mut session: Session, server: Arc<SameServer>) -> Result<Self> {
        let side = Side::open(server).await?;
        let catalog = "SELECT catalog_version_no FROM pg_control_system()";
        Ok(Self {
            version: session.server_version(),
            catalog_version: parsed(&mut session, catalog).await?,
            data_checksums: value(&mut session, "SHOW data_checksums").await? == "on",
            in_recovery: value(&mut session, "SELECT pg_is_in_recovery()").await? == "t",
            session,
            side: Arc::new(side),
            tablespaces: Vec::new(),
            checker: None,
        })
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) async fn begin(
        &mut self,
        label: &str,
        checkpoint: Checkpoint,
    ) -> Result<SourceStart> {
        let fast = matches!(checkpoint, Checkpoint::Fast);
        let session = &mut self.session;
        let lsn = parsed(session, &start_statement(label, fast)).await?;
        // The checkpoint that the backup begins with is the one in pg_control: on a primary it was
        // just made, and on a standby none follows it at once.
        let timeline: u32 =
            parsed(session, "SELECT timeline_id FROM pg_control_checkpoint()").await?;
        let timeline = TimelineId::new(timeline)
            .ok_or_else(|| unexpected(session.peer(), "the checkpoint's timeline"))?;
        self.checker = Some(Arc::new(Checker::new(self.data_checksums, lsn, self.side.clone())));
        Ok(SourceStart { lsn, timeline, tablespaces: self.tablespaces.clone() })
    }

    pub(crate) fn checker(&self) -> Result<Arc<Checker>> {
        self.checker.clone().ok_or_else(|| Error::new(ErrorKind::Invalid, "no backup has begun"))
    }

    pub(crate) async fn end(&mut self, mode: u32) -> Result<SourceEnd> {
        let session = &mut self.session;
        let sql = "SELECT lsn, labelfile FROM pg_backup_stop(false)";
        let answer = session.simple_query(sql).await.map_err(|error| {
            let error = Error::from(error);
            if error.is_lost_connection() { given_up(&error) } else { error }
        })?;
        let row = answer.rows().first().ok_or_else(|| unexpected(session.peer(), sql))?;
        let lsn = row.get(0).and_then(|lsn| lsn.parse().ok());
        let lsn = lsn.ok_or_else(|| unexpected(session.peer(), sql))?;
        let label = row.bytes(1).ok_or_else(|| unexpected(session.peer(), sql))?.to_vec();
        let in_recovery = value(session, "SELECT pg_is_in_recovery()").await? == "t";
        if in_recovery != self.in_recovery {
            let message = "the standby was promoted during the backup: take it again";
            return Err(Error::new(ErrorKind::ServerChanged, message));
        }
        let timeline = timeline_now(session, in_recovery).await?;
        Ok(SourceEnd {
            lsn,
            timeline,
            backup_label: FileContents {
                bytes: label,
                mode,
                mtime: jiff::Timestamp::now().as_second(),
            },
            damage: self.checker()?.take_damage(),
        })
    }
}

/// The timeline that the server writes on, or up to which a standby has replayed.
pub(crate) async fn timeline_now(session: &mut Session, in_recovery: bool) -> Result<TimelineId> {
    let timeline = if in_recovery {
        let sql = "SELECT greatest(min_recovery_end_timeline, timeline_id) \
                   FROM pg_control_recovery(), pg_control_checkpoint()";
        TimelineId::new(parsed(session, sql).await?)
    } else {
        let name = value(session, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
        name.get(..8).and_then(|t| u32::from_str_radix(t, 16).ok()).and_then(TimelineId::new)
    };
    timeline.ok_or_else(|| unexpected(session.peer(), "the current timeline"))
}

impl PageSource for SqlSource {
    async fn begin(&mut self, label: &str, checkpoint: Checkpoint) -> Result<SourceStart> {
        let mut start = self.backup.begin(label, checkpoint).await?;
        let (tablespaces, in_place) = listing::tablespaces(&mut self.backup.session).await?;
        self.backup.tablespaces.clone_from(&tablespaces);
        self.in_place = in_place;
        start.tablespaces = tablespaces;
        Ok(start)
    }

    async fn timeline_history(&mut self, timeline: TimelineId) -> Result<Option<Vec<u8>>> {
        if timeline == TimelineId::FIRST {
            return Ok(None);
        }
        let path = format!("pg_wal/{}", walbrook_types::WalFileName::TimelineHistory { timeline });
        match self.backup.side.read(&path, 0, MAX_HISTORY).await? {
            Some(content) => Ok(Some(content.to_vec())),
            None => {
                let message = format!("the server has no {path}, the history of its timeline");
                Err(Error::new(ErrorKind::Server, message))
            }
        }
    }

    async fn files(&mut self) -> Result<FileList> {
        let SqlBackup { session, version, catalog_version, tablespaces, .. } = &mut self.backup;
        let in_place = self.in_place.clone();
        let mut walk = Walk::new(*version, *catalog_version, tablespaces, in_place);
        listing::walk(session, &mut walk, self.directory_mode).await?;
        walk.finish()
    }

    async fn read(&mut self, requests: mpsc::Receiver<ReadRequest>) -> Result<Pieces> {
        let checker = self.backup.checker()?;
        let sessions = std::mem::take(&mut self.readers);
        if sessions.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the backup's files were read already"));
        }
        let (lanes, mut pieces) = lanes(sessions.len(), requests);
        for (lane, session) in lanes.into_iter().zip(sessions) {
            pieces.spawn(lane::run(session, lane, checker.clone(), self.server.clone()));
        }
        Ok(pieces)
    }

    async fn control_file(&mut self) -> Result<FileContents> {
        let mode = self.directory_mode & 0o666;
        for _ in 0..CONTROL_TRIES {
            let read = self.backup.side.read("global/pg_control", 0, CONTROL_SIZE).await?;
            let bytes = read.map(|bytes| bytes.to_vec()).unwrap_or_default();
            if !is_torn(&bytes) {
                return Ok(FileContents { bytes, mode, mtime: jiff::Timestamp::now().as_second() });
            }
            tokio::time::sleep(CONTROL_PAUSE).await;
        }
        Err(torn_control())
    }

    async fn end(&mut self) -> Result<SourceEnd> {
        self.backup.end(self.directory_mode & 0o666).await
    }
}

/// A history file has a line for each timeline before.
const MAX_HISTORY: u32 = 16 << 20;

/// `PG_CONTROL_FILE_SIZE` in PostgreSQL's `catalog/pg_control.h`.
pub(crate) const CONTROL_SIZE: u32 = 8192;

/// Tries to read `pg_control` while the server writes it, and the wait between two of them.
pub(crate) const CONTROL_TRIES: usize = 100;
pub(crate) const CONTROL_PAUSE: Duration = Duration::from_millis(20);

/// Whether `pg_control` was read in the midst of its being written. What else may be wrong with it
/// is found when it is read for good.
pub(crate) fn is_torn(control: &[u8]) -> bool {
    use walbrook_page::ErrorKind::{BadChecksum, Truncated};
    matches!(ControlFile::parse(control), Err(e) if matches!(e.kind(), BadChecksum | Truncated))
}

pub(crate) fn torn_control() -> Error {
    let message = "global/pg_control does not match its own checksum, however often it is read: \
                   the server's disk is damaged";
    Error::new(ErrorKind::ServerChanged, message)
}
