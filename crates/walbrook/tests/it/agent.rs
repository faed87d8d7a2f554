//! The example does what it says.

use std::time::Duration;

use walbrook_testkit::{Cluster, majors};

#[path = "../../examples/agent.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "an example has its own main")]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn it_backs_up_when_the_newest_backup_is_too_old() {
    let installation = majors().pop().expect("a PostgreSQL: run `cargo xtask pg`");
    let cluster = Cluster::stock(installation).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let repo = format!("file://{}", folder.path().display());
    let tick =
        async |max_age| example::tick(&repo, "prod", &cluster.conninfo(), max_age).await.unwrap();
    let hour = Duration::from_secs(3600);
    assert!(tick(hour).await, "there is none");
    assert!(!tick(hour).await, "it is a second old");
    assert!(tick(Duration::ZERO).await, "any is too old");
    let listed = walbrook::list(&repo.parse().unwrap(), Some("prod")).await.unwrap();
    let backups = &listed[0].systems[0].backups;
    assert_eq!(backups.len(), 2);
    assert!(backups.iter().all(|backup| backup.restorable));
}
