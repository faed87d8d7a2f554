//! Content that an earlier backup may have: which pages of it are new is found out before they
//! are collected into frames, so that frames are full however few they are.

use std::sync::Arc;

use crate::Result;
use crate::backup::base::{BaseFile, FileIndex};
use crate::backup::batch::{Batch, BatchPiece, Target};
use crate::backup::examine::{Examined, PageCheck, examine};

/// The earlier versions of a file that its content is compared with.
pub(crate) type Known = Arc<[(Arc<FileIndex>, BaseFile)]>;

/// A batch that was compared.
pub(crate) struct Compared {
    pub(crate) raw: Vec<u8>,
    pub(crate) runs: Vec<ComparedRun>,
}

pub(crate) struct ComparedRun {
    pub(crate) target: Target,
    pub(crate) file_offset: u64,
    pub(crate) found: Examined,
}

/// Compares a batch; `known` is for each of its pieces.
pub(crate) async fn compare(
    batch: Batch,
    known: Vec<Known>,
    check: Option<PageCheck>,
) -> Result<Compared> {
    let mut digests = Vec::with_capacity(known.len());
    for (BatchPiece { piece, .. }, known) in batch.pieces.iter().zip(&known) {
        let range = piece.file_offset..piece.file_offset + u64::from(piece.len);
        let mut of_piece = Vec::with_capacity(known.len());
        for (index, file) in known.iter() {
            of_piece.push(index.page_digests(file, range.clone()).await?);
        }
        digests.push(of_piece);
    }
    let compared = tokio::task::spawn_blocking(move || {
        let mut at = 0;
        let run = |(BatchPiece { target, piece }, known): (BatchPiece, Vec<_>)| {
            let content = &batch.raw[at..at + piece.len as usize];
            at += content.len();
            let relation = target.relation.as_ref();
            let found = examine(content, piece.file_offset, relation, check, &known);
            ComparedRun { target, file_offset: piece.file_offset, found }
        };
        let runs = batch.pieces.into_iter().zip(digests).map(run).collect();
        Compared { raw: batch.raw, runs }
    });
    Ok(compared.await?)
}
