//! Manifests: the complete map of a backup.
//!
//! A manifest is a row of [`Shard`]s. Each holds [`Entry`]s in the order of their paths, with the
//! tables of packs and frames that their extents point into, so that a shard can be restored,
//! compared or copied without any other.

mod entry;
pub(crate) mod extents;
mod path_table;
mod shard;
mod sorter;

pub use entry::{Entry, EntryKind, Extent, FileContent, Place};
pub(crate) use path_table::{PathTable, PathTableBuilder};
pub(crate) use shard::ShardBuilder;
pub use shard::{FrameRef, PackRef, Shard};
pub use sorter::{PathSorter, SortedPaths};
