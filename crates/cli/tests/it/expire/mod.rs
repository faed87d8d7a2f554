//! Expiry with a real server: [`gfs`] is a long story of backups under a policy on a clock that is made
//! up. [`Objects`] tells what a repository holds, and what of that its backups can reach.

mod clock;
mod gfs;
mod model;
mod objects;

use clock::Clock;
pub(crate) use objects::Objects;
