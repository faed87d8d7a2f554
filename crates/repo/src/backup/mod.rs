//! Backups: written by [`BackupWriter`], described by [`BackupRecord`], read by [`BackupReader`].

mod commit;
mod encode;
mod frame_table;
mod pack;
mod packs;
mod reader;
mod record;
mod writer;

pub(crate) use commit::StoredBackup;
pub use commit::{UncommittedBackup, Written};
pub use encode::PageCheck;
pub use pack::{IndexedFrame, PackIndex, Piece};
pub use reader::{BackupReader, StoredFrames};
pub use record::{
    BackupIntent, BackupRecord, BackupSize, BackupSpan, DamageReport, DamagedPage, ServerFacts,
    ShardRecord, SourceFacts, TablespaceRecord,
};
pub use writer::{BackupWriter, WriterOptions};
