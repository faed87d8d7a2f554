//! Where each object of a repository lies.

use walbrook_types::{SystemId, WalFileName};

use crate::{BackupId, Error, ErrorKind, Result};

/// The repository's own description.
pub(crate) const REPOSITORY: &str = "walbrook.json";

/// Checks the name of a cluster: it becomes a folder, and it stands in command lines.
pub(crate) fn check_cluster_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let valid = (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name != REPOSITORY;
    if valid {
        return Ok(());
    }
    let message = format!(
        "cluster name {name:?} is not allowed: use up to 64 letters, digits, '-', '_' and '.', \
         the first a letter or a digit"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

pub(crate) fn systems(cluster: &str) -> String {
    format!("{cluster}/systems")
}

pub(crate) fn system(cluster: &str, system: SystemId) -> String {
    format!("{cluster}/systems/{system}.json")
}

pub(crate) fn backups(cluster: &str) -> String {
    format!("{cluster}/backups")
}

pub(crate) fn backup(cluster: &str, id: &BackupId) -> String {
    format!("{cluster}/backups/{id}")
}

pub(crate) fn intent(cluster: &str, id: &BackupId) -> String {
    format!("{cluster}/backups/{id}/intent.json")
}

pub(crate) fn record(cluster: &str, id: &BackupId) -> String {
    format!("{cluster}/backups/{id}/backup.json")
}

pub(crate) fn pack(cluster: &str, id: &BackupId, number: u32) -> String {
    format!("{cluster}/backups/{id}/pack-{number:07}")
}

pub(crate) fn manifest(cluster: &str, id: &BackupId, number: u32) -> String {
    format!("{cluster}/backups/{id}/manifest-{number:05}")
}

/// Where expiries put their marks.
pub(crate) fn marks(cluster: &str) -> String {
    format!("{cluster}/expiry")
}

pub(crate) fn mark(cluster: &str, id: &BackupId) -> String {
    format!("{cluster}/expiry/{id}.json")
}

/// All pins.
pub(crate) fn pins(cluster: &str) -> String {
    format!("{cluster}/pins")
}

/// The pins of a backup.
pub(crate) fn backup_pins(cluster: &str, id: &BackupId) -> String {
    format!("{cluster}/pins/{id}")
}

pub(crate) fn wal(cluster: &str, system: SystemId) -> String {
    format!("{cluster}/wal/{system}")
}

pub(crate) fn wal_timeline(cluster: &str, system: SystemId, timeline: u32) -> String {
    format!("{cluster}/wal/{system}/{timeline:08X}")
}

pub(crate) fn wal_file(cluster: &str, system: SystemId, name: &WalFileName) -> String {
    let timeline = name.timeline().get();
    match name {
        WalFileName::TimelineHistory { .. } => format!("{cluster}/wal/{system}/{name}"),
        WalFileName::Segment { log, .. }
        | WalFileName::Partial { log, .. }
        | WalFileName::BackupHistory { log, .. } => {
            format!("{cluster}/wal/{system}/{timeline:08X}/{log:08X}/{name}")
        }
    }
}

/// Names that tell which segments of a system there are.
pub(crate) fn wal_runs(cluster: &str, system: SystemId) -> String {
    format!("{cluster}/wal/{system}/runs")
}

/// Names that tell which segments of a system an expiry removed.
pub(crate) fn wal_expired(cluster: &str, system: SystemId) -> String {
    format!("{cluster}/wal/{system}/expired")
}

/// The block summary of a segment, next to it.
pub(crate) fn wal_summary(cluster: &str, system: SystemId, name: &WalFileName) -> String {
    format!("{}.sum", wal_file(cluster, system, name))
}
