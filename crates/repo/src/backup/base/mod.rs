//! What a backup takes over from the one before: [`BaseIndex`], its files by path, each a
//! [`BaseFile`], and the digests of their pages.

mod digests;
mod file;
mod index;

pub use file::BaseFile;
pub use index::BaseIndex;
pub(crate) use index::FrameSpace;
