//! PostgreSQL's replication protocol: base backups and WAL streams, and libpq's connection settings.
//!
//! [`ConnInfo`] is what to connect to, parsed as libpq parses it, with what an [`Environment`] adds.
//! [`Session`] is a connection that is ready for a command; its methods are the commands.
//! [`Session::base_backup`] turns it into a [`BaseBackup`], whose data are tar archives that a
//! [`TarReader`] takes apart, and [`Session::start_replication`] into a [`WalStream`]. Both give the
//! session back when they are done. [`Error`] says what failed, and has the [`ServerError`] when the
//! server said so.
//!
//! ```no_run
//! use walbrook_replication::{
//!     BaseBackupEvent, BaseBackupOptions, Checkpoint, ConnInfo, Environment, Session, TarReader,
//! };
//!
//! # async fn example() -> Result<(), walbrook_replication::Error> {
//! let info = ConnInfo::parse("host=db1 user=backup", &Environment::from_process())?;
//! let session = Session::replication(&info).await?;
//! let options = BaseBackupOptions::new().label("nightly").checkpoint(Checkpoint::Fast);
//! let mut backup = session.base_backup(&options).await?;
//! let mut tar = TarReader::new();
//! while let Some(event) = backup.next().await? {
//!     match event {
//!         BaseBackupEvent::Archive { name, .. } => {
//!             println!("archive {name}");
//!             tar = TarReader::new();
//!         }
//!         BaseBackupEvent::Data(bytes) => {
//!             tar.feed(bytes);
//!             while let Some(event) = tar.next()? {
//!                 println!("{event:?}");
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//! let end = backup.finish().await?;
//! println!("WAL is needed up to {}", end.stop.0);
//! # Ok(())
//! # }
//! ```
//!
//! Every future is `Send` and runs on a tokio runtime with I/O and time enabled.
#![forbid(unsafe_code)]

mod connect;
pub mod conninfo;
mod error;
mod server_error;
mod session;
mod tar;
mod verbs;
mod wire;

pub use conninfo::{ConnInfo, Environment};
pub use error::{Error, ErrorKind};
pub use server_error::ServerError;
pub use session::Session;
pub use tar::{EntryKind, TarEntry, TarEvent, TarReader};
pub use verbs::{
    BackupEnd, BaseBackup, BaseBackupEvent, BaseBackupOptions, Checkpoint, CopyOut, CopyRow,
    ManifestChecksums, ManifestUpload, PhysicalSlot, ResultSet, Row, SystemIdentity,
    TablespaceInfo, TimelineHistoryFile, WalMessage, WalStream,
};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
