//! The protocol client against real servers of every major version that is installed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod auth;
mod backup;
mod commands;
mod hosts;
mod tls;
mod wal;

use std::future::Future;
use std::path::Path;

use walbrook_replication::{ConnInfo, Environment};
use walbrook_testkit::{Cluster, Installation, StopMode};

/// An environment in which nothing of this machine's shows.
fn env() -> Environment {
    Environment::empty().with_user("postgres")
}

fn info(text: &str) -> ConnInfo {
    ConnInfo::parse(text, &env()).unwrap()
}

fn socket(cluster: &Cluster) -> ConnInfo {
    info(&cluster.conninfo())
}

/// Every major version, or a failure: a machine without PostgreSQL proves nothing.
fn majors() -> Vec<&'static Installation> {
    let majors = walbrook_testkit::majors();
    assert!(!majors.is_empty(), "no PostgreSQL is installed");
    majors
}

fn newest() -> &'static Installation {
    majors().last().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Changes bytes of a file in a stopped cluster's data directory.
fn corrupt(cluster: &mut Cluster, relative: &str, offset: u64) {
    use std::io::{Seek, SeekFrom, Write};
    cluster.stop(StopMode::Fast).unwrap();
    let path = cluster.data_dir().join(Path::new(relative));
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(b"walbrook was here").unwrap();
    drop(file);
    cluster.start_again().unwrap();
}

/// Futures of the public API can move between threads.
#[test]
fn futures_are_send() {
    fn send<T: Send>(_: &T) {}
    let info = info("host=/nonexistent");
    send(&walbrook_replication::Session::replication(&info));
    send(&async {
        let options = walbrook_replication::BaseBackupOptions::new();
        let mut session = walbrook_replication::Session::sql(&info).await?;
        session.simple_query("").await?;
        let mut backup = session.base_backup(&options).await?;
        backup.next().await?;
        let end = backup.finish().await?;
        let timeline = walbrook_types::TimelineId::new(1).unwrap();
        let start = walbrook_types::Lsn(1);
        let mut wal = end.session.start_replication(None, start, timeline).await?;
        wal.next().await?;
        wal.send_status(start, start, start, true).await?;
        wal.stop().await
    });
}
