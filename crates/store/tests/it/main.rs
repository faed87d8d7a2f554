//! The stores as their users meet them: through the public interface, on real disks and servers.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[cfg(feature = "cloud")]
mod cloud;
mod crash;
mod disk_full;
#[cfg(feature = "cloud")]
mod emulators;
mod local;
#[cfg(feature = "cloud")]
mod locks;
mod memory;
