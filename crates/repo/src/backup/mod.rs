//! Backups: written by [`BackupWriter`], described by [`BackupRecord`], read by [`BackupReader`];
//! a later backup finds in [`BaseIndex`] what it need not store again.

mod base;
mod batch;
mod commit;
mod compaction;
mod compare;
mod encode;
mod examine;
mod frame_table;
mod locks;
mod open_file;
mod pack;
mod packs;
mod pipeline;
mod reader;
mod record;
mod writer;

pub use base::{BaseFile, BaseIndex, InterruptedBackup, ResumedBackups};
pub(crate) use commit::StoredBackup;
pub use commit::{UncommittedBackup, Written};
pub use compaction::{CompactionOptions, WornPacks};
pub use examine::PageCheck;
pub use pack::{IndexedFrame, PackIndex, Piece};
pub use reader::{BackupReader, StoredFrames};
pub use record::{
    BackupIntent, BackupRecord, BackupSize, BackupSpan, ChangeFacts, DamageReport, DamagedPage,
    LockFacts, ServerFacts, ShardRecord, SourceFacts, TablespaceRecord,
};
pub use writer::{BackupWriter, FileNumber, WriterOptions};
