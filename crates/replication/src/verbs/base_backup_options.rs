use std::fmt::Write;

use crate::Error;
use crate::wire::quote_literal;

/// How the server makes the checkpoint that a backup starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checkpoint {
    /// As quickly as it can.
    Fast,
    /// Spread over time (`checkpoint_completion_target`), which may take minutes.
    #[default]
    Spread,
}

/// What the backup manifest has of each file besides name, size and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestChecksums {
    /// Nothing.
    None,
    /// CRC-32C, PostgreSQL's default.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The options of BASE_BACKUP, in the grammar of PostgreSQL 15 and later.
///
/// The default is PostgreSQL's own: a spread checkpoint, no WAL, no manifest, wait for archiving,
/// page checksums verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseBackupOptions {
    label: String,
    checkpoint: Checkpoint,
    wal: bool,
    wait: bool,
    progress: bool,
    max_rate_kib: Option<u32>,
    tablespace_map: bool,
    verify_checksums: bool,
    manifest: Option<ManifestChecksums>,
    incremental: bool,
}

impl Default for BaseBackupOptions {
    fn default() -> Self {
        Self {
            label: "base backup".to_owned(),
            checkpoint: Checkpoint::default(),
            wal: false,
            wait: true,
            progress: false,
            max_rate_kib: None,
            tablespace_map: false,
            verify_checksums: true,
            manifest: None,
            incremental: false,
        }
    }
}

impl BaseBackupOptions {
    /// PostgreSQL's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The label in `backup_label`, at most 1024 bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// How the first checkpoint is made.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// Whether the WAL that the backup needs is put into its main archive.
    #[must_use]
    pub fn wal(mut self, wal: bool) -> Self {
        self.wal = wal;
        self
    }

    /// Whether the server waits at the end until the WAL that the backup needs is archived.
    #[must_use]
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Whether sizes are estimated first and progress is reported.
    #[must_use]
    pub fn progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// The most that the server sends, in KiB a second: from 32 to 1048576.
    #[must_use]
    pub fn max_rate(mut self, kib_per_second: Option<u32>) -> Self {
        self.max_rate_kib = kib_per_second;
        self
    }

    /// Whether the main archive has a `tablespace_map` in place of symbolic links in `pg_tblspc`.
    #[must_use]
    pub fn tablespace_map(mut self, tablespace_map: bool) -> Self {
        self.tablespace_map = tablespace_map;
        self
    }

    /// Whether the server verifies page checksums while it reads, where the cluster has them.
    #[must_use]
    pub fn verify_checksums(mut self, verify: bool) -> Self {
        self.verify_checksums = verify;
        self
    }

    /// Whether a backup manifest is made, and with which checksums.
    #[must_use]
    pub fn manifest(mut self, checksums: Option<ManifestChecksums>) -> Self {
        self.manifest = checksums;
        self
    }

    /// Whether relation files that the [uploaded manifest](crate::Session::upload_manifest) names are sent
    /// as `INCREMENTAL.*` files, of the blocks that the server's WAL summaries say have changed since.
    /// PostgreSQL 17 and later, with `summarize_wal` on; the server waits for its summarizer, for up to
    /// a minute without progress. SQLSTATE `55000` says that summaries are missing, or that the
    /// manifest's backup is no part of the server's past.
    ///
    /// What is sent must not be relied on alone, in no release up to 18.6 at least: of a relation that was
    /// truncated and has grown again, changed blocks can be missing, and records that clear bits of
    /// visibility maps may not name their blocks. Leave such files out of the manifest, and they are
    /// sent whole.
    #[must_use]
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    pub(super) fn command(&self) -> Result<String, Error> {
        if self.label.len() > 1024 {
            return Err(Error::config("the backup's label is longer than 1024 bytes"));
        }
        if self.max_rate_kib.is_some_and(|rate| !(32..=1_048_576).contains(&rate)) {
            return Err(Error::config(
                "the rate limit of a base backup must be from 32 to 1048576 KiB per second",
            ));
        }
        let checkpoint = match self.checkpoint {
            Checkpoint::Fast => "fast",
            Checkpoint::Spread => "spread",
        };
        let mut command = format!(
            "BASE_BACKUP (LABEL {}, CHECKPOINT '{checkpoint}', PROGRESS {}, WAL {}, WAIT {}, \
             TABLESPACE_MAP {}, VERIFY_CHECKSUMS {}",
            quote_literal(&self.label),
            self.progress,
            self.wal,
            self.wait,
            self.tablespace_map,
            self.verify_checksums,
        );
        // Writing to a String does not fail.
        if let Some(rate) = self.max_rate_kib {
            let _ = write!(command, ", MAX_RATE {rate}");
        }
        if self.incremental {
            command.push_str(", INCREMENTAL true");
        }
        match self.manifest {
            None => command.push_str(", MANIFEST 'no'"),
            Some(checksums) => {
                let name = match checksums {
                    ManifestChecksums::None => "NONE",
                    ManifestChecksums::Crc32c => "CRC32C",
                    ManifestChecksums::Sha224 => "SHA224",
                    ManifestChecksums::Sha256 => "SHA256",
                    ManifestChecksums::Sha384 => "SHA384",
                    ManifestChecksums::Sha512 => "SHA512",
                };
                let _ = write!(command, ", MANIFEST 'yes', MANIFEST_CHECKSUMS '{name}'");
            }
        }
        command.push(')');
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command() {
        assert_eq!(
            BaseBackupOptions::new().label("it's").command().unwrap(),
            "BASE_BACKUP (LABEL 'it''s', CHECKPOINT 'spread', PROGRESS false, WAL false, WAIT true, \
             TABLESPACE_MAP false, VERIFY_CHECKSUMS true, MANIFEST 'no')"
        );
        let options = BaseBackupOptions::new()
            .checkpoint(Checkpoint::Fast)
            .wait(false)
            .max_rate(Some(64))
            .incremental(true)
            .manifest(Some(ManifestChecksums::Sha256));
        let command = options.command().unwrap();
        assert!(command.ends_with(
            "MAX_RATE 64, INCREMENTAL true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256')"
        ));
        assert!(BaseBackupOptions::new().max_rate(Some(1)).command().is_err());
        assert!(BaseBackupOptions::new().label("x".repeat(1025)).command().is_err());
    }
}
