//! Waiting for something with a limit.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Calls `condition` until it is true, every 20 milliseconds.
///
/// # Errors
/// [`ErrorKind::Timeout`], naming `what`, when it did not become true in time.
pub fn wait_for(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + timeout;
    while !condition() {
        if Instant::now() >= end {
            let message = format!("{what}: not within {} s", timeout.as_secs_f32());
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
