//! `walbrook-wal` on the WAL of real servers: [`oracle`] compares it with `pg_waldump`, [`gaps`]
//! takes segments away, and [`incident`] loses rows, finds who deleted them, and gets them back.

mod gaps;
mod incident;
mod oracle;
mod usage;
mod waldump;

use walbrook_testkit::{Installation, majors};

/// The newest server that there is.
fn newest() -> &'static Installation {
    majors().into_iter().next_back().expect("a PostgreSQL: run `cargo xtask pg`")
}

/// The oldest.
fn oldest() -> &'static Installation {
    majors().into_iter().next().expect("a PostgreSQL: run `cargo xtask pg`")
}
