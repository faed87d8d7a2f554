//! PostgreSQL's `INCREMENTAL.*` files: what a `BASE_BACKUP` with `INCREMENTAL` sends instead of a
//! relation file that changed in parts (PostgreSQL 17 and later).
//!
//! [`IncrementalHeader`] is the beginning of such a file, which names the blocks that follow.
//! [`IncrementalDecoder`] is fed the file in pieces of any size; [`IncrementalReader`] does the same
//! over [`std::io::Read`], [`IncrementalWriter`] writes one. [`Layout`] tells, for a full file and
//! the incremental ones that follow it, where each block of the result comes from.
//!
//! The layout (`backup/basebackup_incremental.h`, written by `sendFile` in
//! `backup/basebackup.c`), all numbers of 32 bits in little-endian order: the magic number
//! `0xd3ae1f0d`, the number of blocks, the truncation block length, the blocks' numbers within the
//! file; then, only if there are blocks, zeros up to the next multiple of 8192 bytes, and the
//! blocks' contents.

mod decoder;
mod header;
mod io;
mod layout;

pub use decoder::{IncrementalDecoder, IncrementalEvent};
pub use header::{INCREMENTAL_PREFIX, IncrementalHeader};
pub use io::{IncrementalReader, IncrementalWriter};
pub use layout::{Layout, Place, Run};
