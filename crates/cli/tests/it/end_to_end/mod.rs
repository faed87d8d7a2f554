//! The main job on real servers: back up, archive, lose, restore, and compare with what was there.
//!
//! [`data`] fills a cluster with one of everything and remembers what it held at a [`data::Moment`];
//! [`oracles`] are PostgreSQL's own tools, which judge what was restored.

pub(crate) mod data;
mod heavy;
pub(crate) mod oracles;
mod servers;
mod standbys;
mod targets;
mod timelines;
mod windows;

use walbrook_testkit::{Installation, majors};

/// A test for each major version, so that they run side by side and fail by name.
macro_rules! for_each_major {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::end_to_end::installed;

            #[test]
            fn on_15() { installed(15).into_iter().for_each(super::$test) }
            #[test]
            fn on_16() { installed(16).into_iter().for_each(super::$test) }
            #[test]
            fn on_17() { installed(17).into_iter().for_each(super::$test) }
            #[test]
            fn on_18() { installed(18).into_iter().for_each(super::$test) }
        })+
    };
}
pub(crate) use for_each_major;

/// The server of a major version, where there is one. There must be one of some version.
pub(crate) fn installed(major: u32) -> Option<&'static Installation> {
    let found = majors().into_iter().find(|installation| installation.major() == major);
    if found.is_none() {
        assert!(!majors().is_empty(), "no PostgreSQL is installed: run `cargo xtask pg`");
        println!("SKIPPED: no PostgreSQL {major} is installed");
    }
    found
}

/// The newest server that there is.
pub(crate) fn newest() -> &'static Installation {
    majors().into_iter().next_back().expect("a PostgreSQL: run `cargo xtask pg`")
}
