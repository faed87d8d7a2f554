//! What a backup takes over from earlier ones.
//!
//! [`BaseIndex`] has the files of a backup that exists, [`ResumedBackups`] those parts of files
//! that interrupted backups ([`InterruptedBackup`]) have stored. Both are a `FileIndex`: it tells of each page which frame
//! holds it, and its digest.

mod digests;
mod file;
mod files;
mod index;
mod interrupted;
mod resumed;

pub use file::BaseFile;
pub(crate) use files::{FileIndex, FrameSpace};
pub use index::BaseIndex;
pub use interrupted::InterruptedBackup;
pub use resumed::ResumedBackups;
