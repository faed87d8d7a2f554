//! Load by `pgbench`, in the foreground or behind a test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result, run};

impl Cluster {
    /// Makes pgbench's tables in a database: 100 000 accounts, about 15 MiB, per unit of `scale`.
    ///
    /// # Errors
    /// With pgbench's own text.
    pub fn pgbench_init(&self, database: &str, scale: u32) -> Result<()> {
        let mut command = self.command("pgbench");
        run(command.args(["-i", "-q", "-s", &scale.to_string(), database])).map(drop)
    }

    /// Starts pgbench's standard transactions and returns at once. They go on
    /// until [`Background::stop`] or the drop, an hour at most.
    ///
    /// # Errors
    /// When pgbench can't be started.
    pub fn pgbench_background(&self, database: &str, clients: u32) -> Result<Background> {
        self.background("pgbench", &["-n", "-T", "3600", "-c", &clients.to_string(), database])
    }

    /// Starts one of the installation's programs in the background.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn background(&self, tool: &str, args: &[&str]) -> Result<Background> {
        // Both streams into one file: nobody reads pipes while it runs.
        let path =
            (0..).map(|n| self.temp.path().join(format!("{tool}.{n}.log"))).find(|p| !p.exists());
        let path = path.unwrap_or_default();
        let fail = |e| Error::io(tool, e);
        let log = File::create(&path).map_err(fail)?;
        let mut command = self.command(tool);
        command.args(args).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone().map_err(fail)?).stderr(log);
        Ok(Background { name: tool.into(), child: command.spawn().map_err(fail)?, log: path })
    }
}

/// A program that runs behind a test, and is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Background {
    /// What it has printed so far, standard output and error mixed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it can't be waited for; a failure of the program itself is in the status.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().map_err(|e| Error::io(&self.name, e))
    }

    /// Asks it to end by SIGTERM, waits, and returns its output. Not by SIGINT, which a shell makes
    /// programs in the background ignore, and they hand that down.
    ///
    /// # Errors
    /// When it had ended by itself before: the load that a test counts on was not there.
    pub fn stop(mut self) -> Result<String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let message = format!("{} ended early with {status}: {}", self.name, self.output());
            return Err(Error::new(ErrorKind::Tool, message));
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        self.wait()?;
        Ok(self.output())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
