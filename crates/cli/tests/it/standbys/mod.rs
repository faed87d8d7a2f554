//! Standbys as the source of backups: preferred to the primary, and promoted in the midst.

mod preferred;
mod promoted;
