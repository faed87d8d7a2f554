//! What users get wrong, and what goes wrong around them: each is refused with the right exit code
//! and a message that names the thing and the remedy, and nothing half-written is left.

mod directories;
mod disks;
mod servers;
mod strangers;
mod targets;
mod wal_files;
