//! The configuration file, and how it, the environment and the flags become one.
//!
//! [`File`] is a file as it was read; [`Settings`] answers what holds for the cluster that a
//! command is about: a flag or variable if there is one, else what the file says for the cluster,
//! else what it says for all.

mod discover;
mod file;
mod merge;
mod settings;

pub(crate) use settings::Settings;
