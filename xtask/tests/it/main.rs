//! `cargo xtask` as its users call it.

mod demo;
