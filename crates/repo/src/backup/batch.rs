use std::sync::Arc;

use walbrook_types::{BLOCK_SIZE, RelFile};

use crate::backup::pack::Piece;
use crate::{Error, ErrorKind, PageDigest, Result};

/// Content of one frame before compression: 128 pages.
pub(crate) const FRAME_SIZE: usize = 1 << 20;

/// Runs of files in one frame at most: their names are in memory until the frame is in a pack.
/// Scattered pages are 128 runs; small files alone come near.
const FRAME_PIECES: usize = 4096;

/// The file that content is of.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Which of the files that were opened.
    pub(crate) file: u64,
    pub(crate) path: Arc<str>,
    pub(crate) relation: Option<RelFile>,
}

/// Content on its way into a frame.
pub(crate) struct Batch {
    pub(crate) raw: Vec<u8>,
    pub(crate) pieces: Vec<BatchPiece>,
}

/// A run of one file in a [`Batch`].
pub(crate) struct BatchPiece {
    pub(crate) target: Target,
    /// Its pages are known when they were looked at before: checked, and told from zeros.
    pub(crate) piece: Piece,
}

impl Batch {
    pub(crate) fn new(mut raw: Vec<u8>) -> Self {
        raw.clear();
        raw.reserve(FRAME_SIZE);
        Self { raw, pieces: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Takes as much of a file's content as there is room for, and tells how much that is. `pages`
    /// are the digests of content that was looked at before; none for other content.
    ///
    /// A page never straddles two frames, so that each frame's pages can be checked, and told from
    /// those of another backup. Content that begins inside a page therefore has to go on where
    /// the content taken last has ended.
    pub(crate) fn take(
        &mut self,
        target: &Target,
        offset: u64,
        content: &[u8],
        pages: &[PageDigest],
    ) -> Result<usize> {
        let in_page = (offset % BLOCK_SIZE as u64) as usize;
        let crowded = self.pieces.len() >= FRAME_PIECES;
        let last = self.pieces.last_mut().filter(|last| {
            last.target.file == target.file
                && last.piece.file_offset + u64::from(last.piece.len) == offset
                && last.piece.pages.is_empty() == pages.is_empty()
        });
        if last.is_none() && in_page != 0 {
            let message = format!(
                "content of {:?} begins at byte {offset}, inside a page, and does not follow what \
                 was written last",
                target.path
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let room = FRAME_SIZE - self.raw.len();
        let room = ((in_page + room) / BLOCK_SIZE * BLOCK_SIZE).saturating_sub(in_page);
        let taken = content.len().min(room);
        let known = &pages[..pages.len().min(taken.div_ceil(BLOCK_SIZE))];
        match last {
            Some(last) => {
                last.piece.len += taken as u32;
                last.piece.pages.extend_from_slice(known);
            }
            None if taken == 0 || crowded => return Ok(0),
            None => self.pieces.push(BatchPiece {
                target: target.clone(),
                piece: Piece {
                    path: target.path.clone(),
                    file_offset: offset,
                    len: taken as u32,
                    pages: known.to_vec(),
                },
            }),
        }
        self.raw.extend_from_slice(&content[..taken]);
        Ok(taken)
    }
}
