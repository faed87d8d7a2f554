use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use walbrook_page::{PageHeader, Verdict, verify};
use walbrook_repo::{DamageReport, DamagedPage};
use walbrook_types::{BLOCK_SIZE, Lsn, RelFile};

use super::side::Side;
use crate::Result;

/// Waits before a page that is unsound is read again. A server that was in the midst of writing
/// it is done long before the last.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
];

/// Checks pages as they are read, has torn ones read again, and collects what stays unsound.
pub(crate) struct Checker {
    pub(crate) checksums: bool,
    pub(crate) start_lsn: Lsn,
    pub(crate) side: Arc<Side>,
    damage: Mutex<DamageReport>,
}

impl Checker {
    pub(crate) fn new(checksums: bool, start_lsn: Lsn, side: Arc<Side>) -> Self {
        Self { checksums, start_lsn, side, damage: Mutex::default() }
    }

    /// What was found so far, in the order of files and blocks.
    pub(crate) fn take_damage(&self) -> DamageReport {
        let mut found =
            std::mem::take(&mut *self.damage.lock().unwrap_or_else(PoisonError::into_inner));
        found.listed.sort_by(|a, b| (&a.path, a.block).cmp(&(&b.path, b.block)));
        found
    }

    /// Checks the pages of a piece of a relation file that begins at `offset`, and returns it as
    /// it is to be stored: `reread` reads a page, given its offset, once more.
    pub(crate) async fn settle<F, R>(
        &self,
        path: &str,
        relation: &RelFile,
        offset: u64,
        content: Bytes,
        mut reread: F,
    ) -> Result<Bytes>
    where
        F: FnMut(u64) -> R + Send,
        R: Future<Output = Result<Option<Bytes>>> + Send,
    {
        let first = first_block(relation, offset);
        let (newest, unsound) = self.look(first, &content);
        let ahead = newest > self.side.known() && !self.side.has_reached(newest).await?;
        if ahead {
            self.note_newer(path, first, &content);
        }
        if unsound.is_empty() {
            return Ok(content);
        }
        let mut mended = BytesMut::from(content);
        for index in unsound {
            let block = first.saturating_add(index as u32);
            let at = index * BLOCK_SIZE;
            let page_offset = offset + at as u64;
            let mut again = None;
            for pause in PAUSES {
                tokio::time::sleep(pause).await;
                let Some(page) = reread(page_offset).await?.filter(|p| p.len() == BLOCK_SIZE)
                else {
                    // The file was cut or removed meanwhile: what was read will be so too.
                    again = None;
                    break;
                };
                mended[at..at + BLOCK_SIZE].copy_from_slice(&page);
                let verdict = self.judge(&mended[at..at + BLOCK_SIZE], block);
                again = verdict.filter(|verdict| !verdict.is_sound());
                if again.is_none() {
                    break;
                }
            }
            let Some(verdict) = again else { continue };
            let lsn = claimed_lsn(&verdict);
            // A page that has changed since the backup began is in the WAL as a whole.
            if lsn >= self.start_lsn && self.side.has_reached(lsn).await? {
                continue;
            }
            self.note(path, block, verdict.to_string());
        }
        Ok(mended.freeze())
    }

    /// The newest position that a sound page claims, and which pages are unsound.
    fn look(&self, first: u32, content: &[u8]) -> (Lsn, Vec<usize>) {
        let mut newest = Lsn(0);
        let mut unsound = Vec::new();
        let (pages, _) = content.as_chunks::<BLOCK_SIZE>();
        for (index, page) in pages.iter().enumerate() {
            match verify(page, first.saturating_add(index as u32), self.checksums) {
                Verdict::New => {}
                Verdict::Valid { lsn } => newest = newest.max(lsn),
                _ => unsound.push(index),
            }
        }
        (newest, unsound)
    }

    fn judge(&self, page: &[u8], block: u32) -> Option<Verdict> {
        let (pages, _) = page.as_chunks::<BLOCK_SIZE>();
        pages.first().map(|page| verify(page, block, self.checksums))
    }

    /// Notes sound pages that claim a position which the server's WAL has not reached.
    fn note_newer(&self, path: &str, first: u32, content: &[u8]) {
        let known = self.side.known();
        let (pages, _) = content.as_chunks::<BLOCK_SIZE>();
        for (block, page) in (first..).zip(pages) {
            let lsn = PageHeader::new(page).lsn();
            let verdict = verify(page, block, self.checksums);
            if lsn > known && verdict.is_sound() {
                let what = format!("page LSN {lsn} is past {known}, the end of the server's WAL");
                self.note(path, block, what);
            }
        }
    }

    fn note(&self, path: &str, block: u32, problem: String) {
        let page = DamagedPage { path: path.to_owned(), block, problem };
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).add(page);
    }
}

fn first_block(relation: &RelFile, offset: u64) -> u32 {
    relation.first_block().saturating_add((offset / BLOCK_SIZE as u64) as u32)
}

fn claimed_lsn(verdict: &Verdict) -> Lsn {
    match verdict {
        Verdict::ChecksumMismatch { lsn, .. } | Verdict::BadHeader { lsn, .. } => *lsn,
        _ => Lsn(0),
    }
}
