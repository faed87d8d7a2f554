use walbrook_delta::{
    INCREMENTAL_PREFIX, IncrementalDecoder, IncrementalEvent, IncrementalHeader, Layout, Place,
};
use walbrook_repo::{BackupWriter, BaseFile, FileNumber};
use walbrook_types::{BLOCK_SIZE, Fork, Lsn, RelFile};

use crate::{Error, ErrorKind, Result};

const BLOCK: u64 = BLOCK_SIZE as u64;

/// The path of the complete file that a file of an incremental backup is part of: none when the file
/// is complete itself.
pub(crate) fn folded_path(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let name = name.strip_prefix(INCREMENTAL_PREFIX)?;
    let folded = format!("{folder}/{name}");
    RelFile::from_path(&folded).is_some_and(|file| file.fork == Fork::Main).then_some(folded)
}

/// An incremental file while it comes: its blocks go into the complete file in the new backup, of which
/// all others are those of the base.
pub(crate) struct Fold {
    path: String,
    decoder: IncrementalDecoder,
    number: FileNumber,
    /// Blocks that the base has of it.
    base: u32,
    /// In bytes, once the header was read.
    size: Option<u64>,
    received: u64,
    crc32c: u32,
}

impl Fold {
    /// Opens the complete file of this path; `base` is what the server was told of.
    pub(crate) fn open(
        writer: &mut BackupWriter,
        path: String,
        (mode, mtime): (u32, i64),
        base: BaseFile,
    ) -> Result<Self> {
        // The prior has no file with more blocks than a relation's has.
        let blocks = (base.size() / BLOCK) as u32;
        let number = writer.open_file(&path, mode, mtime, Some(base))?;
        let decoder = IncrementalDecoder::new();
        Ok(Self { path, decoder, number, base: blocks, size: None, received: 0, crc32c: 0 })
    }

    /// Takes the next bytes of the incremental file.
    pub(crate) async fn write(&mut self, writer: &mut BackupWriter, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        let mut input = bytes;
        while let Some(event) = self.decoder.next(&mut input).map_err(|e| self.malformed(e))? {
            match event {
                IncrementalEvent::Header(header) => self.lay_out(writer, &header)?,
                IncrementalEvent::Block(block) => {
                    let at = u64::from(block) * BLOCK;
                    let page = self.decoder.page().map_or(&[][..], |page| &page[..]);
                    writer.write_at(self.number, at, page).await?;
                }
            }
        }
        Ok(())
    }

    /// Refers to the base for all blocks that will not come.
    fn lay_out(&mut self, writer: &mut BackupWriter, header: &IncrementalHeader) -> Result<()> {
        let mut layout = Layout::full(self.base).map_err(|e| self.malformed(e))?;
        layout.apply(header);
        for run in layout.runs() {
            let begin = u64::from(run.first) * BLOCK;
            let range = begin..begin + u64::from(run.count) * BLOCK;
            match run.place {
                Place::Layer { layer: 0, .. } => writer.reuse(self.number, range)?,
                Place::Layer { .. } => {}
                // The server has extended the file and not used the pages yet.
                Place::Zeros => writer.zeros(self.number, range)?,
            }
        }
        self.size = Some(u64::from(layout.blocks()) * BLOCK);
        Ok(())
    }

    /// Ends the file. Returns its path, size and checksum as they came, and the bytes that did not come.
    pub(crate) fn close(self, writer: &mut BackupWriter) -> Result<Folded> {
        let Self { path, decoder, number, size, received, crc32c, .. } = self;
        decoder.finish().map_err(|error| malformed(&path, error))?;
        // It has finished: the header was there.
        let size = size.unwrap_or_default();
        writer.close_file(number, size)?;
        Ok(Folded { path, received, crc32c, spared: size.saturating_sub(received) })
    }

    fn malformed(&self, error: walbrook_delta::Error) -> Error {
        malformed(&self.path, error)
    }
}

/// An incremental file that has become part of a complete one.
pub(crate) struct Folded {
    /// The path of the complete file.
    pub(crate) path: String,
    /// The length of the incremental one.
    pub(crate) received: u64,
    /// The checksum of the incremental one.
    pub(crate) crc32c: u32,
    /// Bytes that had not to be sent.
    pub(crate) spared: u64,
}

fn malformed(path: &str, error: walbrook_delta::Error) -> Error {
    let message = format!("the server sent differences of {path:?} that can't be: {error}");
    Error::new(ErrorKind::ServerChanged, message).with_source(error)
}

/// A `backup_label` without the lines that say that the backup is incremental: what is stored is not,
/// and a server refuses to start from what is. Also tells where the backup begins that it says it is
/// incremental to.
pub(crate) fn without_incremental_lines(label: &str) -> (String, Option<Lsn>) {
    // `build_backup_content` in PostgreSQL's `access/transam/xlogbackup.c`.
    const FROM_LSN: &str = "INCREMENTAL FROM LSN: ";
    const FROM_TLI: &str = "INCREMENTAL FROM TLI: ";
    let from = label.lines().find_map(|line| line.strip_prefix(FROM_LSN)?.parse().ok());
    let kept = label.split_inclusive('\n');
    let kept = kept.filter(|line| !line.starts_with(FROM_LSN) && !line.starts_with(FROM_TLI));
    (kept.collect(), from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_incremental_files() {
        let folded = |path| folded_path(path);
        assert_eq!(folded("base/5/INCREMENTAL.16384.1").as_deref(), Some("base/5/16384.1"));
        assert_eq!(folded("global/INCREMENTAL.1262").as_deref(), Some("global/1262"));
        assert_eq!(folded("base/5/INCREMENTAL.16384_vm"), None);
        assert_eq!(folded("base/5/16384"), None);
        assert_eq!(folded("INCREMENTAL.16384"), None);
    }

    #[test]
    fn a_label_is_that_of_a_complete_backup() {
        let label = "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
            LABEL: INCREMENTAL FROM LSN: x\nSTART TIMELINE: 1\n";
        let incremental =
            format!("{label}INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n");
        assert_eq!(without_incremental_lines(label), (label.to_owned(), None));
        let from = Some(Lsn(0x200_0028));
        assert_eq!(without_incremental_lines(&incremental), (label.to_owned(), from));
    }
}
