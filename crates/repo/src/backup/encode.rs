//! What a worker does with a full batch: looks at what nobody has looked at yet, and makes a frame
//! of all that is to be stored.

use std::ops::Range;

use walbrook_page::Verdict;

use crate::backup::batch::{Batch, BatchPiece, Target};
use crate::backup::examine::{Finding, PageCheck, examine};
use crate::backup::pack::Piece;
use crate::codec::Codec;
use crate::frame::{self, Header, Kind};

/// A frame, ready for a pack.
pub(crate) struct Encoded {
    /// None when nothing of the batch is to be stored.
    pub(crate) header: Option<Header>,
    pub(crate) stored: Vec<u8>,
    pub(crate) runs: Vec<EncodedRun>,
    /// The buffer, to be filled again.
    pub(crate) recycled: Vec<u8>,
}

/// What became of a run of a file.
pub(crate) struct EncodedRun {
    pub(crate) target: Target,
    /// The bytes of the file that it is of.
    pub(crate) range: Range<u64>,
    /// Unless somebody has looked at it before.
    pub(crate) crc32c: Option<u32>,
    pub(crate) damaged: Vec<(u32, Verdict)>,
    /// In the frame, in order.
    pub(crate) pieces: Vec<Piece>,
    /// Zeros, which are not.
    pub(crate) zeros: Vec<Range<u64>>,
}

pub(crate) fn encode(batch: Batch, codec: Codec, check: Option<PageCheck>) -> Encoded {
    let Batch { mut raw, pieces } = batch;
    let (mut read, mut kept) = (0, 0);
    let mut runs = Vec::with_capacity(pieces.len());
    for BatchPiece { target, piece } in pieces {
        let begin = read;
        read += piece.len as usize;
        let range = piece.file_offset..piece.file_offset + u64::from(piece.len);
        let mut run = EncodedRun {
            target,
            range: range.clone(),
            crc32c: None,
            damaged: Vec::new(),
            pieces: Vec::new(),
            zeros: Vec::new(),
        };
        if piece.pages.is_empty() {
            let relation = run.target.relation.as_ref();
            let found = examine(&raw[begin..read], range.start, relation, check, &[]);
            run.crc32c = Some(found.crc32c);
            run.damaged = found.damaged;
            let (mut from, mut at) = (begin, range.start);
            for part in found.parts {
                let end = at + u64::from(part.len);
                match part.finding {
                    Finding::New(pages) => {
                        let path = piece.path.clone();
                        run.pieces.push(Piece { path, file_offset: at, len: part.len, pages });
                        keep(&mut raw, from..from + part.len as usize, kept);
                        kept += part.len as usize;
                    }
                    _ => run.zeros.push(at..end),
                }
                from += part.len as usize;
                at = end;
            }
        } else {
            keep(&mut raw, begin..read, kept);
            kept += piece.len as usize;
            run.pieces.push(piece);
        }
        runs.push(run);
    }
    raw.truncate(kept);
    let mut stored = Vec::new();
    let header = (!raw.is_empty()).then(|| frame::encode(Kind::Content, codec, &raw, &mut stored));
    Encoded { header, stored, runs, recycled: raw }
}

/// Moves bytes to the front, over those that are not stored.
fn keep(raw: &mut [u8], from: Range<usize>, to: usize) {
    if from.start != to {
        raw.copy_within(from, to);
    }
}
