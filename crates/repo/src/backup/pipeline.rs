//! Content on its way through a [`BackupWriter`]: from batches over workers into packs.

use std::ops::Range;

use futures::StreamExt;
use walbrook_page::Verdict;
use walbrook_types::BLOCK_SIZE;

use crate::backup::base::FrameSpace;
use crate::backup::batch::{Batch, Target};
use crate::backup::compare::{Compared, ComparedRun, compare};
use crate::backup::encode::{self, Encoded, EncodedRun};
use crate::backup::examine::Finding;
use crate::backup::open_file::OpenFile;
use crate::backup::pack::Piece;
use crate::backup::record::DamagedPage;
use crate::backup::writer::{BackupWriter, WriterOptions, push_entry};
use crate::frame::Header;
use crate::manifest::{EntryKind, Extent, FrameRef, PackRef, Place};
use crate::{PageDigest, Result};

impl BackupWriter {
    /// Takes content that is to be stored; `pages` are the digests of what was examined.
    pub(super) async fn store(
        &mut self,
        target: &Target,
        mut at: u64,
        mut content: &[u8],
        mut pages: &[PageDigest],
    ) -> Result<()> {
        while !content.is_empty() {
            let taken = self.batch.take(target, at, content, pages)?;
            if taken == 0 {
                self.flush().await?;
            }
            at += taken as u64;
            content = &content[taken..];
            pages = &pages[pages.len().min(taken.div_ceil(BLOCK_SIZE))..];
        }
        Ok(())
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Hands what is to be compared to a worker, and takes back what was compared while too much
    /// is under way.
    pub(super) async fn flush_unexamined(&mut self) -> Result<()> {
        if !self.unexamined.0.is_empty() {
            let next = (Batch::new(self.buffer()), Vec::new());
            let (batch, known) = std::mem::replace(&mut self.unexamined, next);
            let check = self.options.check;
            self.comparing.push_back(tokio::spawn(compare(batch, known, check)));
        }
        // One more than the workers, so that none of them waits for us.
        while self.comparing.len() > self.options.workers.max(1) {
            self.collect_compared().await?;
        }
        Ok(())
    }

    /// Takes the next batch that was compared; false when there is none under way.
    pub(super) async fn collect_compared(&mut self) -> Result<bool> {
        let Some(compared) = self.comparing.next().await else { return Ok(false) };
        let Compared { raw, runs } = compared??;
        let mut content = &raw[..];
        for ComparedRun { target, file_offset, found } in runs {
            self.report(&target, found.damaged);
            let mut at = file_offset;
            let len: u64 = found.parts.iter().map(|part| u64::from(part.len)).sum();
            if let Some(file) = self.files.get_mut(&target.file) {
                file.add_checksum(at..at + len, found.crc32c);
            }
            for part in found.parts {
                let (bytes, rest) = content.split_at(part.len as usize);
                content = rest;
                let range = at..at + u64::from(part.len);
                at = range.end;
                if let Finding::New(pages) = &part.finding {
                    self.store(&target, range.start, bytes, pages).await?;
                    continue;
                }
                match part.finding {
                    Finding::Known(source) => {
                        self.place_known(&target, range, source, bytes).await?;
                    }
                    _ => {
                        let Some(file) = self.files.get_mut(&target.file) else { continue };
                        file.pending -= u64::from(part.len);
                        file.place_zeros(range);
                    }
                }
            }
            self.retire(target.file)?;
        }
        self.spare.push(raw);
        Ok(true)
    }

    /// Puts content that was found in an earlier backup there: a reference, unless its pack is to be
    /// left behind.
    async fn place_known(
        &mut self,
        target: &Target,
        range: Range<u64>,
        source: usize,
        bytes: &[u8],
    ) -> Result<()> {
        let Some(file) = self.files.get(&target.file) else { return Ok(()) };
        let Some((_, known)) = file.known.get(source) else { return Ok(()) };
        let begin = range.start;
        let extents: Vec<(u64, Extent)> = known.slice(range).collect();
        for (at, extent) in extents {
            if self.is_worn(&extent)? {
                let within = (at - begin) as usize..(at - begin + extent.len) as usize;
                self.store_worn(target, at, &bytes[within]).await?;
            } else if let Some(file) = self.files.get_mut(&target.file) {
                file.pending -= extent.len;
                file.place(at, extent);
            }
        }
        Ok(())
    }

    /// Hands the batch to a worker, and takes back what workers have finished while too many
    /// batches are under way.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            let next = Batch::new(self.buffer());
            let batch = std::mem::replace(&mut self.batch, next);
            let WriterOptions { codec, check, .. } = self.options;
            self.encoding.push_back(tokio::task::spawn_blocking(move || {
                encode::encode(batch, codec, check)
            }));
        }
        while self.encoding.len() > self.options.workers.max(1) {
            self.collect().await?;
        }
        Ok(())
    }

    /// Takes the next finished frame; false when there is none under way.
    pub(super) async fn collect(&mut self) -> Result<bool> {
        let Some(encoded) = self.encoding.next().await else { return Ok(false) };
        let Encoded { header, stored, runs, recycled } = encoded?;
        self.spare.push(recycled);
        let frame = match header {
            Some(header) => {
                let pieces = runs.iter().flat_map(|run| run.pieces.iter().cloned()).collect();
                self.add_frame(&header, &stored, pieces).await?
            }
            None => 0,
        };
        let mut offset = 0;
        for EncodedRun { target, range, crc32c, damaged, pieces, zeros } in runs {
            self.report(&target, damaged);
            let Some(file) = self.files.get_mut(&target.file) else { continue };
            file.pending -= range.end - range.start;
            if let Some(crc32c) = crc32c {
                file.add_checksum(range, crc32c);
            }
            for piece in pieces {
                let place = Place::Frame { frame, offset };
                offset += piece.len;
                file.place(piece.file_offset, Extent { len: u64::from(piece.len), place });
            }
            zeros.into_iter().for_each(|range| file.place_zeros(range));
            self.retire(target.file)?;
        }
        Ok(true)
    }

    /// Puts a frame in a pack; tells its number.
    async fn add_frame(
        &mut self,
        header: &Header,
        stored: &[u8],
        pieces: Vec<Piece>,
    ) -> Result<u64> {
        let (number, offset) = self.packs.push(header, stored, pieces).await?;
        let pack = PackRef { backup: self.intent.id.clone(), number };
        let frame = FrameRef {
            pack: 0,
            offset,
            stored_len: header.stored_len() as u32,
            raw_len: header.raw_len,
            digest: header.digest,
        };
        self.frames.push(&pack, &frame)
    }

    fn report(&mut self, target: &Target, damaged: Vec<(u32, Verdict)>) {
        for (block, verdict) in damaged {
            let path = target.path.to_string();
            self.damage.add(DamagedPage { path, block, problem: verdict.to_string() });
        }
    }

    /// Moves a file to the manifest's sorter, if all of it is there.
    pub(super) fn retire(&mut self, number: u64) -> Result<()> {
        if !self.files.get(&number).is_some_and(OpenFile::is_complete) {
            return Ok(());
        }
        let Some(file) = self.files.remove(&number) else { return Ok(()) };
        let entry = file.finish()?;
        if let EntryKind::File(content) = &entry.kind {
            for extent in &content.extents {
                let Place::Frame { frame, .. } = extent.place else { continue };
                let space = FrameSpace::of(frame);
                if space != FrameSpace::Own {
                    self.size.reused_bytes += extent.len;
                }
                if space == FrameSpace::Resumed {
                    self.size.resumed_bytes += extent.len;
                }
            }
        }
        push_entry(&mut self.sorter, &entry)
    }
}
