use walbrook_types::{BLOCK_SIZE, Lsn, PgTimestamp, SystemId, TimelineId, WalSegmentSize};

use crate::{Error, ErrorKind};

/// Where the fields lie that all known formats share: on 64-bit little-endian machines the
/// structures of PostgreSQL 13 to 18 agree up to `data_checksum_version` (18 put the checkpoint's
/// `wal_level` into what was padding).
mod at {
    pub(super) const SYSTEM_ID: usize = 0;
    pub(super) const CONTROL_VERSION: usize = 8;
    pub(super) const CATALOG_VERSION: usize = 12;
    pub(super) const STATE: usize = 16;
    pub(super) const TIME: usize = 24;
    pub(super) const CHECKPOINT: usize = 32;
    pub(super) const CHECKPOINT_COPY: usize = 40;
    pub(super) const MIN_RECOVERY_POINT: usize = 136;
    pub(super) const MIN_RECOVERY_TLI: usize = 144;
    pub(super) const BACKUP_START: usize = 152;
    pub(super) const BACKUP_END: usize = 160;
    pub(super) const BACKUP_END_REQUIRED: usize = 168;
    pub(super) const WAL_LEVEL: usize = 172;
    pub(super) const WAL_LOG_HINTS: usize = 176;
    pub(super) const MAX_CONNECTIONS: usize = 180;
    pub(super) const MAX_WORKER_PROCESSES: usize = 184;
    pub(super) const MAX_WAL_SENDERS: usize = 188;
    pub(super) const MAX_PREPARED_XACTS: usize = 192;
    pub(super) const MAX_LOCKS_PER_XACT: usize = 196;
    pub(super) const TRACK_COMMIT_TIMESTAMP: usize = 200;
    pub(super) const FLOAT_FORMAT: usize = 208;
    pub(super) const BLOCK_SIZE: usize = 216;
    pub(super) const RELSEG_SIZE: usize = 220;
    pub(super) const WAL_BLOCK_SIZE: usize = 224;
    pub(super) const WAL_SEGMENT_SIZE: usize = 228;
    pub(super) const DATA_CHECKSUMS: usize = 252;
}

/// `FLOATFORMAT_VALUE`: a constant that comes out otherwise on a machine of another float format.
const FLOAT_FORMAT: f64 = 1_234_567.0;

/// What `global/pg_control` says about a cluster.
///
/// `ControlFileData` in PostgreSQL's `catalog/pg_control.h`: `PG_CONTROL_VERSION` 1300 for
/// PostgreSQL 13 to 16, 1700 for 17 and 1800 for 18, as 64-bit little-endian machines write it. The names are
/// those of the structure; `pg_controldata` prints the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlFile {
    /// Which cluster this is.
    pub system_id: SystemId,
    /// The format of this file, `PG_CONTROL_VERSION`.
    pub control_version: u32,
    /// The format of the system catalogs, `CATALOG_VERSION_NO`.
    pub catalog_version: u32,
    /// What the server was doing.
    pub state: DbState,
    /// When the file was last written; whole seconds.
    pub time: PgTimestamp,
    /// Where the record of the last checkpoint (on a standby: restartpoint) lies.
    pub checkpoint_lsn: Lsn,
    /// A copy of that record.
    pub checkpoint: CheckPoint,
    /// Up to where replay must come before the cluster is consistent; invalid unless in archive
    /// recovery.
    pub min_recovery_point: Lsn,
    /// The timeline of `min_recovery_point`; none when that is invalid.
    pub min_recovery_timeline: Option<TimelineId>,
    /// The redo position of the backup that is being recovered from; invalid once its end is
    /// reached.
    pub backup_start_point: Lsn,
    /// Where a backup taken from a standby ends, while it is being recovered from.
    pub backup_end_point: Lsn,
    /// Whether an end-of-backup record must be seen before the cluster may open.
    pub backup_end_required: bool,
    /// The server's `wal_level`.
    pub wal_level: WalLevel,
    /// The server's `wal_log_hints`.
    pub wal_log_hints: bool,
    /// The server's `max_connections`: a standby needs at least as many.
    pub max_connections: u32,
    /// The server's `max_worker_processes`.
    pub max_worker_processes: u32,
    /// The server's `max_wal_senders`.
    pub max_wal_senders: u32,
    /// The server's `max_prepared_transactions`.
    pub max_prepared_xacts: u32,
    /// The server's `max_locks_per_transaction`.
    pub max_locks_per_xact: u32,
    /// The server's `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
    /// Size of a data page in bytes; always [`BLOCK_SIZE`], others are refused.
    pub block_size: u32,
    /// Blocks in one file of a relation fork (`RELSEG_SIZE`); 131072 unless built otherwise.
    pub relseg_size: u32,
    /// Size of a WAL page in bytes (`XLOG_BLCKSZ`).
    pub wal_block_size: u32,
    /// Size of a WAL segment.
    pub wal_segment_size: WalSegmentSize,
    /// The version of data checksums: 0 for none, 1 for those of [`checksum`](crate::checksum).
    pub data_checksum_version: u32,
}

impl ControlFile {
    /// Reads the file's content: at least the structure itself, usually all 8192 bytes.
    ///
    /// # Errors
    ///
    /// [`Truncated`](ErrorKind::Truncated) for too few bytes,
    /// [`Unsupported`](ErrorKind::Unsupported) for another format, byte order or block size,
    /// [`BadChecksum`](ErrorKind::BadChecksum) when the file's CRC-32C does not match, which on a
    /// live server usually means a torn read: read it again. [`Invalid`](ErrorKind::Invalid) for a
    /// field that the CRC covers and PostgreSQL never writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let version = Reader(bytes).u32(at::CONTROL_VERSION)?;
        // Where the CRC over all that precedes it lies; 18 added a flag before the nonce.
        let crc_at = match version {
            1300 | 1700 => 288,
            1800 => 292,
            _ => return Err(unsupported(version)),
        };
        let covered = bytes.get(..crc_at).ok_or_else(|| truncated(bytes.len()))?;
        let r = Reader(covered);
        if Reader(bytes).u32(crc_at)? != crc32c::crc32c(covered) {
            return Err(Error::new(
                ErrorKind::BadChecksum,
                "pg_control does not match its own CRC: it is damaged, or was read while the \
                 server wrote it",
            ));
        }
        if f64::from_bits(r.u64(at::FLOAT_FORMAT)?) != FLOAT_FORMAT {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "pg_control is laid out for another machine architecture",
            ));
        }
        let block_size = r.u32(at::BLOCK_SIZE)?;
        if block_size as usize != BLOCK_SIZE {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the cluster has pages of {block_size} bytes; only {BLOCK_SIZE} are known"),
            ));
        }
        let segment = r.u32(at::WAL_SEGMENT_SIZE)?;
        let min_recovery_point = Lsn(r.u64(at::MIN_RECOVERY_POINT)?);
        Ok(Self {
            system_id: SystemId(r.u64(at::SYSTEM_ID)?),
            control_version: version,
            catalog_version: r.u32(at::CATALOG_VERSION)?,
            state: DbState::from_number(r.u32(at::STATE)?)?,
            time: r.time(at::TIME)?,
            checkpoint_lsn: Lsn(r.u64(at::CHECKPOINT)?),
            checkpoint: CheckPoint::parse(
                covered.get(at::CHECKPOINT_COPY..).unwrap_or_default(),
                version >= 1800,
            )?,
            min_recovery_point,
            min_recovery_timeline: TimelineId::new(r.u32(at::MIN_RECOVERY_TLI)?),
            backup_start_point: Lsn(r.u64(at::BACKUP_START)?),
            backup_end_point: Lsn(r.u64(at::BACKUP_END)?),
            backup_end_required: r.flag(at::BACKUP_END_REQUIRED)?,
            wal_level: WalLevel::from_number(r.u32(at::WAL_LEVEL)?)?,
            wal_log_hints: r.flag(at::WAL_LOG_HINTS)?,
            max_connections: r.u32(at::MAX_CONNECTIONS)?,
            max_worker_processes: r.u32(at::MAX_WORKER_PROCESSES)?,
            max_wal_senders: r.u32(at::MAX_WAL_SENDERS)?,
            max_prepared_xacts: r.u32(at::MAX_PREPARED_XACTS)?,
            max_locks_per_xact: r.u32(at::MAX_LOCKS_PER_XACT)?,
            track_commit_timestamp: r.flag(at::TRACK_COMMIT_TIMESTAMP)?,
            block_size,
            relseg_size: r.u32(at::RELSEG_SIZE)?,
            wal_block_size: r.u32(at::WAL_BLOCK_SIZE)?,
            wal_segment_size: WalSegmentSize::new(u64::from(segment))
                .ok_or_else(|| invalid("a WAL segment size", u64::from(segment)))?,
            data_checksum_version: r.u32(at::DATA_CHECKSUMS)?,
        })
    }

    /// Whether data pages carry checksums.
    pub fn data_checksums(&self) -> bool {
        self.data_checksum_version != 0
    }

    /// The major version of PostgreSQL that made this cluster, told by the catalog version of its
    /// releases; none for a development version. `PG_VERSION` is the plain way to ask.
    pub fn major_version(&self) -> Option<u32> {
        match self.catalog_version {
            202_209_061 => Some(15),
            202_307_071 => Some(16),
            202_406_281 => Some(17),
            202_506_291 => Some(18),
            _ => None,
        }
    }
}

/// The body of a checkpoint record (`CheckPoint` in PostgreSQL's `catalog/pg_control.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckPoint {
    /// Where replay from this checkpoint begins.
    pub redo: Lsn,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The timeline before, if this record begins a new one; else the same.
    pub previous_timeline: TimelineId,
    /// Whether `full_page_writes` was on.
    pub full_page_writes: bool,
    /// The `wal_level` at that time; recorded since PostgreSQL 18.
    pub wal_level: Option<WalLevel>,
    /// The next transaction ID with its epoch in the high 32 bits.
    pub next_xid: u64,
    /// The next object identifier.
    pub next_oid: u32,
    /// The next multixact ID.
    pub next_multi: u32,
    /// The next multixact offset.
    pub next_multi_offset: u32,
    /// The oldest transaction ID still to be found in any database.
    pub oldest_xid: u32,
    /// The oldest multixact ID still to be found in any database.
    pub oldest_multi: u32,
    /// When the checkpoint began; whole seconds.
    pub time: PgTimestamp,
    /// The oldest transaction that was running, for an online checkpoint; zero otherwise.
    pub oldest_active_xid: u32,
}

impl CheckPoint {
    /// From bytes that begin with the structure; `wal_level` lies in padding before version 18.
    fn parse(bytes: &[u8], has_wal_level: bool) -> Result<Self, Error> {
        let r = Reader(bytes);
        let timeline = |at| {
            let number = r.u32(at)?;
            TimelineId::new(number).ok_or_else(|| invalid("a timeline", u64::from(number)))
        };
        Ok(Self {
            redo: Lsn(r.u64(0)?),
            timeline: timeline(8)?,
            previous_timeline: timeline(12)?,
            full_page_writes: r.flag(16)?,
            wal_level: match has_wal_level {
                true => Some(WalLevel::from_number(r.u32(20)?)?),
                false => None,
            },
            next_xid: r.u64(24)?,
            next_oid: r.u32(32)?,
            next_multi: r.u32(36)?,
            next_multi_offset: r.u32(40)?,
            oldest_xid: r.u32(44)?,
            oldest_multi: r.u32(52)?,
            time: r.time(64)?,
            oldest_active_xid: r.u32(80)?,
        })
    }
}

/// What a server was doing when it last wrote its control file (`DBState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbState {
    /// `starting up`.
    Startup,
    /// `shut down`: cleanly, as a primary.
    ShutDown,
    /// `shut down in recovery`: cleanly, as a standby.
    ShutDownInRecovery,
    /// `shutting down`.
    ShuttingDown,
    /// `in crash recovery`.
    InCrashRecovery,
    /// `in archive recovery`.
    InArchiveRecovery,
    /// `in production`: running, or crashed since.
    InProduction,
}

impl DbState {
    fn from_number(number: u32) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::Startup,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => return Err(invalid("a cluster state", u64::from(number))),
        })
    }

    /// As `pg_controldata` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "starting up",
            Self::ShutDown => "shut down",
            Self::ShutDownInRecovery => "shut down in recovery",
            Self::ShuttingDown => "shutting down",
            Self::InCrashRecovery => "in crash recovery",
            Self::InArchiveRecovery => "in archive recovery",
            Self::InProduction => "in production",
        }
    }
}

/// How much a server writes to its WAL (`WalLevel` in PostgreSQL's `access/xlog.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WalLevel {
    /// Enough for crash recovery only: no backup can be made.
    Minimal,
    /// Enough for backups and standbys.
    Replica,
    /// Enough for logical decoding too.
    Logical,
}

impl WalLevel {
    fn from_number(number: u32) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::Minimal,
            1 => Self::Replica,
            2 => Self::Logical,
            _ => return Err(invalid("a wal_level", u64::from(number))),
        })
    }

    /// As the setting spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Replica => "replica",
            Self::Logical => "logical",
        }
    }
}

/// Little-endian fields at fixed offsets, each checked against the end.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], Error> {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .ok_or_else(|| truncated(self.0.len()))
    }

    fn u32(self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn flag(self, at: usize) -> Result<bool, Error> {
        let [byte] = self.array(at)?;
        Ok(byte != 0)
    }

    /// A `pg_time_t`: seconds since 1970.
    fn time(self, at: usize) -> Result<PgTimestamp, Error> {
        self.array(at).map(i64::from_le_bytes).map(PgTimestamp::from_unix_seconds)
    }
}

fn truncated(len: usize) -> Error {
    Error::new(ErrorKind::Truncated, format!("pg_control ends after {len} bytes"))
}

fn invalid(what: &str, number: u64) -> Error {
    Error::new(ErrorKind::Invalid, format!("pg_control holds {number}, which is not {what}"))
}

/// A version in the upper half only is one in the other byte order (as `pg_controldata` guesses).
fn unsupported(version: u32) -> Error {
    let hint = if version & 0xFFFF == 0 && version != 0 {
        "it was written by a big-endian machine"
    } else {
        "known are 1300 (PostgreSQL 13 to 16), 1700 and 1800"
    };
    Error::new(ErrorKind::Unsupported, format!("pg_control has format version {version}: {hint}"))
}
