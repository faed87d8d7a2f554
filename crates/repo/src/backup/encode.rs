//! What a worker does with a full buffer: check its pages, and make a frame of it.

use walbrook_page::{Page, Verdict, verify};
use walbrook_types::{BLOCK_SIZE, Lsn, RelFile};

use crate::backup::pack::Piece;
use crate::codec::Codec;
use crate::frame::{self, Header, Kind};

/// How the pages of relation files are checked while they are stored.
#[derive(Debug, Clone, Copy)]
pub struct PageCheck {
    /// Whether the cluster has data checksums. Without them only page headers can be judged.
    pub checksums: bool,
    /// Where the backup began: a page changed since then may be torn, and the WAL that a restore
    /// replays contains it whole.
    pub start_lsn: Lsn,
}

/// Content on its way into a frame.
pub(crate) struct Batch {
    pub(crate) raw: Vec<u8>,
    pub(crate) pieces: Vec<BatchPiece>,
}

/// A run of one file in a [`Batch`].
pub(crate) struct BatchPiece {
    /// Which file, in the order in which files were begun.
    pub(crate) file: u64,
    pub(crate) relation: Option<RelFile>,
    pub(crate) piece: Piece,
}

/// A frame, ready for a pack.
pub(crate) struct Encoded {
    pub(crate) header: Header,
    pub(crate) stored: Vec<u8>,
    pub(crate) pieces: Vec<EncodedPiece>,
    /// The buffer, to be filled again.
    pub(crate) recycled: Vec<u8>,
}

pub(crate) struct EncodedPiece {
    pub(crate) file: u64,
    pub(crate) piece: Piece,
    pub(crate) crc32c: u32,
    /// Blocks that failed their check, and why.
    pub(crate) damaged: Vec<(u32, Verdict)>,
}

pub(crate) fn encode(batch: Batch, codec: Codec, check: Option<PageCheck>) -> Encoded {
    let mut at = 0;
    let mut pieces = Vec::with_capacity(batch.pieces.len());
    for BatchPiece { file, relation, piece } in batch.pieces {
        let content = &batch.raw[at..at + piece.len as usize];
        at += content.len();
        let damaged = match (check, relation) {
            (Some(check), Some(relation)) => damaged_pages(content, &relation, &piece, check),
            _ => Vec::new(),
        };
        pieces.push(EncodedPiece { file, piece, crc32c: crc32c::crc32c(content), damaged });
    }
    let mut stored = Vec::new();
    let header = frame::encode(Kind::Content, codec, &batch.raw, &mut stored);
    Encoded { header, stored, pieces, recycled: batch.raw }
}

/// The pages that are neither sound nor repaired by replay.
fn damaged_pages(
    content: &[u8],
    relation: &RelFile,
    piece: &Piece,
    check: PageCheck,
) -> Vec<(u32, Verdict)> {
    let first =
        relation.first_block().saturating_add((piece.file_offset / BLOCK_SIZE as u64) as u32);
    let (pages, _) = content.as_chunks::<BLOCK_SIZE>();
    let blocks = (first..).zip(pages);
    blocks.filter_map(|(block, page)| Some((block, page_damage(page, block, check)?))).collect()
}

fn page_damage(page: &Page, block: u32, check: PageCheck) -> Option<Verdict> {
    match verify(page, block, check.checksums) {
        verdict @ (Verdict::ChecksumMismatch { lsn, .. } | Verdict::BadHeader { lsn, .. }) => {
            (lsn < check.start_lsn).then_some(verdict)
        }
        _ => None,
    }
}
