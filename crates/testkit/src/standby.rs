//! Streaming standbys of a cluster.

use crate::cluster::Cluster;
use crate::error::{Result, run};
use crate::temp::TempDir;

impl Cluster {
    /// A running streaming standby, made by `pg_basebackup -R`. Tablespaces are
    /// moved into a directory of the standby's own.
    ///
    /// # Errors
    /// With the text of `pg_basebackup` or the standby's log.
    pub fn create_standby(&self) -> Result<Cluster> {
        let temp = TempDir::new()?;
        let data_dir = temp.subdir("data")?;
        let mut command = self.command("pg_basebackup");
        command
            .args(["-R", "-X", "stream", "-c", "fast", "-d", &self.conninfo(), "-D"])
            .arg(&data_dir);
        let locations = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace \
                         WHERE pg_tablespace_location(oid) LIKE '/%'";
        for row in self.query_rows("postgres", locations)? {
            let moved = temp.subdir(&format!("tablespace-{}", row[0]))?;
            command.arg("-T").arg(format!("{}={}", row[1], moved.display()));
        }
        run(&mut command)?;
        let mut standby =
            Cluster::over(&self.installation, data_dir, temp, self.user.clone(), self.tcp)?;
        standby.start_again()?;
        Ok(standby)
    }
}
