//! PostgreSQL's data pages and its control file, read from bytes.
//!
//! [`verify`] looks at one page of a relation file and answers with a [`Verdict`]: new, valid, or
//! what is wrong with it. It is what a backup asks of each page that it reads and a restore of
//! each page that it writes. Underneath are [`PageHeader`], the view of a page's first 24 bytes,
//! and [`checksum`], the 16-bit checksum of a cluster with data checksums.
//!
//! [`ControlFile`] reads `global/pg_control`: which cluster this is, whether its pages carry
//! checksums, and where its last checkpoint lies. [`parse_pg_version`] reads `PG_VERSION`.
//!
//! Nothing here does I/O, and nothing panics on bytes from outside.
#![forbid(unsafe_code)]

mod checksum;
mod control;
mod error;
mod header;
mod verdict;
mod version;

pub use checksum::checksum;
pub use control::{CheckPoint, ControlFile, DbState, WalLevel};
pub use error::{Error, ErrorKind};
pub use header::{HeaderFault, PageHeader};
pub use verdict::{Verdict, verify};
pub use version::parse_pg_version;

/// One page of a relation file.
pub type Page = [u8; walbrook_types::BLOCK_SIZE];
