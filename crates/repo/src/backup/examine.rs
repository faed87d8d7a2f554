//! What is found out about content once, by a worker: its checksum, its damaged pages, and which
//! of its pages are zeros or what an earlier backup has.

use walbrook_page::{Page, Verdict, verify};
use walbrook_types::{BLOCK_SIZE, Lsn, RelFile};

use crate::PageDigest;

/// How the pages of relation files are checked while they are stored.
#[derive(Debug, Clone, Copy)]
pub struct PageCheck {
    /// Whether the cluster has data checksums. Without them only page headers can be judged.
    pub checksums: bool,
    /// Where the backup began: a page changed since then may be torn, and the WAL that a restore
    /// replays contains it whole.
    pub start_lsn: Lsn,
}

/// What was found out about a run of a file.
pub(crate) struct Examined {
    /// Of the whole run.
    pub(crate) crc32c: u32,
    /// Blocks that failed their check, and why.
    pub(crate) damaged: Vec<(u32, Verdict)>,
    /// The run from its beginning to its end.
    pub(crate) parts: Vec<Part>,
}

/// A part of a run of a file: whole pages, but at the end of the file.
pub(crate) struct Part {
    pub(crate) len: u32,
    pub(crate) finding: Finding,
}

/// What the pages of a [`Part`] are.
pub(crate) enum Finding {
    /// All zero.
    Zero,
    /// What an earlier backup has at the same place: the one of this number among those that it
    /// was compared with.
    Known(usize),
    /// To be stored; their digests.
    New(Vec<PageDigest>),
}

/// Looks at a run of a file. `known` has the digests of its pages in earlier backups.
pub(crate) fn examine(
    content: &[u8],
    file_offset: u64,
    relation: Option<&RelFile>,
    check: Option<PageCheck>,
    known: &[Vec<Option<PageDigest>>],
) -> Examined {
    let damaged = match (check, relation) {
        (Some(check), Some(relation)) => damaged_pages(content, relation, file_offset, check),
        _ => Vec::new(),
    };
    let mut parts: Vec<Part> = Vec::new();
    for (number, page) in content.chunks(BLOCK_SIZE).enumerate() {
        let finding = if is_zero(page) {
            Finding::Zero
        } else {
            let digest = PageDigest::of(page);
            let same = |known: &Vec<Option<PageDigest>>| known.get(number) == Some(&Some(digest));
            match known.iter().position(same) {
                Some(source) => Finding::Known(source),
                None => Finding::New(vec![digest]),
            }
        };
        push(&mut parts, page.len() as u32, finding);
    }
    Examined { crc32c: crc32c::crc32c(content), damaged, parts }
}

/// Adds a page to the parts before it.
fn push(parts: &mut Vec<Part>, len: u32, finding: Finding) {
    match (parts.last_mut(), finding) {
        (Some(Part { len: sum, finding: Finding::Zero }), Finding::Zero) => *sum += len,
        (Some(Part { len: sum, finding: Finding::Known(a) }), Finding::Known(b)) if *a == b => {
            *sum += len;
        }
        (Some(Part { len: sum, finding: Finding::New(pages) }), Finding::New(new)) => {
            *sum += len;
            pages.extend(new);
        }
        (_, finding) => parts.push(Part { len, finding }),
    }
}

/// Whether all bytes are zero. Ends with the first few that are not.
fn is_zero(page: &[u8]) -> bool {
    page.chunks(64).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The pages that are neither sound nor repaired by replay.
fn damaged_pages(
    content: &[u8],
    relation: &RelFile,
    file_offset: u64,
    check: PageCheck,
) -> Vec<(u32, Verdict)> {
    let first = relation.first_block().saturating_add((file_offset / BLOCK_SIZE as u64) as u32);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart() {
        let page = |n: u8| vec![n; BLOCK_SIZE];
        let content = [page(1), page(2), page(0), page(0), page(5), page(6), vec![0; 10]].concat();
        let of = |n| Some(PageDigest::of(&page(n)));
        let base = vec![None, of(2), of(0), None, of(9), None];
        let resumed = vec![None, of(2), None, None, of(5)];
        let found = examine(&content, 0, None, None, &[base, resumed]);
        assert_eq!(found.crc32c, crc32c::crc32c(&content));
        let parts: Vec<_> = found
            .parts
            .iter()
            .map(|part| match &part.finding {
                Finding::Zero => (part.len, "zero".to_owned()),
                Finding::Known(source) => (part.len, format!("known {source}")),
                Finding::New(pages) => (part.len, format!("{} new", pages.len())),
            })
            .collect();
        let parts: Vec<_> = parts.iter().map(|(len, what)| (*len, what.as_str())).collect();
        let block = BLOCK_SIZE as u32;
        let expected = [
            (block, "1 new"),
            (block, "known 0"),
            (2 * block, "zero"),
            (block, "known 1"),
            (block, "1 new"),
            (10, "zero"),
        ];
        assert_eq!(parts, expected);
    }
}
