//! Throw-away PostgreSQL clusters of every installed version, for Walbrook's tests.
//!
//! [`installations`] and [`majors`] say which servers this machine has. A [`Cluster`]
//! is one server in a temporary directory: [`Cluster::builder`] for most tests,
//! [`Cluster::stock`] where a test claims that the stock configuration suffices,
//! and [`Cluster::adopt`] for a data directory that something restored. It stops
//! and goes when it is dropped, or when the test process dies.
//!
//! Everything blocks, and works as root (the servers then run as `postgres`) or not.
//!
//! ```no_run
//! for installation in walbrook_testkit::majors() {
//!     let cluster = walbrook_testkit::Cluster::builder(installation).start()?;
//!     cluster.psql_ok("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10) AS n")?;
//!     assert_eq!(cluster.psql("postgres", "SELECT sum(n) FROM t")?, "55");
//! }
//! # Ok::<(), walbrook_testkit::Error>(())
//! ```
#![forbid(unsafe_code)]

mod adopt;
mod binaries;
mod builder;
mod cluster;
mod error;
#[cfg(feature = "store")]
mod fault_store;
mod fingerprint;
mod installation;
mod obtain;
mod pgbench;
mod postmaster;
mod sql;
mod standby;
mod temp;
mod user;
mod wait;

pub use adopt::{Adopt, Until, start_restored};
pub use binaries::built_binary;
pub use builder::Builder;
pub use cluster::{Cluster, StopMode};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "store")]
pub use fault_store::{Call, Calls, Fault, FaultStore, Rule};
pub use fingerprint::{Digest, Fingerprint, fingerprint, fingerprint_all, sequences};
pub use installation::{Installation, SUPPORTED_MAJORS, installations, majors};
pub use obtain::{cache_dir, ensure_postgres};
pub use pgbench::Background;
pub use postmaster::alive;
pub use temp::TempDir;
pub use user::{give_to_server, run_unprivileged};
pub use wait::wait_for;
