//! Incremental backups.

mod visibility;
