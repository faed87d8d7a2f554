//! The commands, one in each file.

pub(crate) mod base_backup;
mod base_backup_options;
mod copy_out;
mod identify_system;
pub(crate) mod query;
mod show;
mod slot;
mod start_replication;
mod timeline_history;
mod upload_manifest;

pub use base_backup::{BackupEnd, BaseBackup, BaseBackupEvent, TablespaceInfo};
pub use base_backup_options::{BaseBackupOptions, Checkpoint, ManifestChecksums};
pub use copy_out::{CopyOut, CopyRow};
pub use identify_system::SystemIdentity;
pub use query::{ResultSet, Row};
pub use slot::PhysicalSlot;
pub use start_replication::{WalMessage, WalStream};
pub use timeline_history::TimelineHistoryFile;
pub use upload_manifest::ManifestUpload;
