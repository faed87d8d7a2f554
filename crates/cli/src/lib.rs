#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! Each function of this crate is the `main` of one binary: [`backup`], [`push`], [`fetch`],
//! [`list`], [`expire`], [`restore`], [`wal`] and [`front`]. They parse their arguments (`args`), fill them up from the
//! environment and a file (`config`), call the `walbrook` crate, and print what it returned. The
//! crate has no other interface: programs embed `walbrook` instead.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod config;
mod console;
mod failure;
mod format;
mod listing;
mod output;
mod progress;
mod quoting;
mod restore_command;
mod runtime;

pub use commands::{backup, expire, fetch, front, list, push, restore, wal};
