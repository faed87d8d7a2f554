use std::collections::HashSet;

use walbrook_delta::Truncations;
use walbrook_replication::Session;
use walbrook_repo::{BaseFile, BaseIndex};
use walbrook_types::{BLOCK_SIZE, BLOCKS_PER_FILE, Fork, Lsn, RelFile};

use crate::Result;
use crate::pg_manifest::{ManifestFile, ManifestText};

/// What is sent to the server at once.
const PIECE: usize = 64 << 10;

/// The backup that the server's incremental one is to be laid over: the part of the base that the
/// server is told of. What it is not told of it sends whole (`GetFileBackupMethod` in PostgreSQL's
/// `backup/basebackup_incremental.c`), and that is all but main forks of relations, whose bytes in the
/// base are good, and of which summaries tell the truth:
///
/// - not visibility maps, for records that clear their bits do not name their blocks before the minor
///   releases of 2026;
/// - not relations that were truncated since the base: see [`Truncations`];
/// - not files that the base has damaged, nor those that are not made of whole blocks.
///
/// Other files the server sends whole anyway; a list of theirs would only take its memory.
pub(crate) struct Prior {
    base: BaseIndex,
    truncated: Truncations,
    damaged: HashSet<String>,
}

impl Prior {
    pub(crate) fn new(base: BaseIndex, truncated: Truncations) -> Self {
        let damaged = &base.record().damage.listed;
        let damaged = damaged.iter().map(|page| page.path.clone()).collect();
        Self { base, truncated, damaged }
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> Lsn {
        self.base.record().span.start_lsn
    }

    /// The relations that it leaves out because they were truncated.
    pub(crate) fn truncated(&self) -> &Truncations {
        &self.truncated
    }

    /// The file of this path, if the server was told of it.
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<BaseFile>> {
        let file = self.base.lookup(path)?;
        Ok(file.filter(|file| self.has(path, file.size())))
    }

    fn has(&self, path: &str, size: u64) -> bool {
        const BLOCK: u64 = BLOCK_SIZE as u64;
        let whole = size.is_multiple_of(BLOCK) && size / BLOCK <= u64::from(BLOCKS_PER_FILE);
        // An empty file says nothing, and costs nothing to send.
        let is_relation = RelFile::from_path(path)
            .is_some_and(|file| file.fork == Fork::Main && !self.truncated.contains(&file));
        is_relation && size > 0 && whole && !self.damaged.contains(path)
    }

    /// Tells the server of it.
    pub(crate) async fn upload(&self, session: &mut Session) -> Result<()> {
        let record = self.base.record();
        let mut upload = session.upload_manifest().await?;
        let mut buffer = Vec::with_capacity(2 * PIECE);
        let server = &record.server;
        let mut text =
            ManifestText::begin(server.pg_version, server.system_identifier, &mut buffer);
        for file in self.base.files() {
            let file = file?;
            let (path, size) = (file.path(), file.size());
            if !self.has(path, size) {
                continue;
            }
            // That is all that the server reads.
            text.file(&ManifestFile { path, size, modified: None, crc32c: None }, &mut buffer);
            if buffer.len() >= PIECE {
                upload.write(&buffer).await?;
                buffer.clear();
            }
        }
        let span = &record.span;
        text.end(span.timeline, span.start_lsn, span.stop_lsn, &mut buffer);
        upload.write(&buffer).await?;
        Ok(upload.finish().await?)
    }
}
