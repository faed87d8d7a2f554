use std::fmt;

use walbrook_types::{BlockNumber, Lsn};

use crate::{HeaderFault, Page, PageHeader, checksum};

/// What [`verify`] found out about a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All zero: the relation was extended by it and the page never initialised. Sound.
    New,
    /// Sound as far as can be told: its header is sane, and its checksum right if it has one.
    Valid {
        /// The position just behind the WAL record of its last change.
        lsn: Lsn,
    },
    /// The stored checksum is not that of the contents at this block.
    ChecksumMismatch {
        /// What the page says.
        stored: u16,
        /// What its contents give.
        computed: u16,
        /// What the page claims as its LSN; not to be trusted on its own.
        lsn: Lsn,
    },
    /// The header can't be that of a page (the checksum, if checked, was right).
    BadHeader {
        /// What is wrong with it.
        fault: HeaderFault,
        /// What the page claims as its LSN; not to be trusted on its own.
        lsn: Lsn,
    },
}

impl Verdict {
    /// Whether the page is sound: [`New`](Self::New) or [`Valid`](Self::Valid).
    pub fn is_sound(&self) -> bool {
        matches!(self, Self::New | Self::Valid { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new page"),
            Self::Valid { lsn } => write!(f, "valid page, LSN {lsn}"),
            Self::ChecksumMismatch { stored, computed, .. } => {
                write!(f, "page checksum {computed:#06x} does not match the stored {stored:#06x}")
            }
            Self::BadHeader { fault, .. } => write!(f, "bad page header: {fault}"),
        }
    }
}

/// Judges one page of a relation file, as PostgreSQL does when it reads one (`PageIsVerified` in
/// `storage/page/bufpage.c`).
///
/// `block` is the page's number within the whole fork: for a file `16384.2`, add its
/// [`RelFile::first_block`](walbrook_types::RelFile::first_block). `checksums` tells whether the
/// cluster has data checksums ([`ControlFile::data_checksums`](crate::ControlFile::data_checksums));
/// without them only the header can be judged.
///
/// # Torn pages
///
/// A page that is read while the server writes it may be half old and half new. So an unsound
/// verdict during a live backup is no proof of damage: read the page again, a few times, and
/// report only what stays. Where it stays unsound, PostgreSQL's own rule (`sendFile` in
/// `backup/basebackup.c`) is to let it pass when the page's LSN is **at or after the backup's
/// start LSN**: the record of that change lies in the WAL that the restore replays, full-page
/// images are forced on during a backup, and so replay overwrites the whole page. The LSN of an
/// unsound page can itself be damage: a caller should apply that rule only to an LSN that the
/// server had reached by then. In a finished cluster or a restored one the rule does not hold,
/// and everything unsound is damage.
pub fn verify(page: &Page, block: BlockNumber, checksums: bool) -> Verdict {
    let header = PageHeader::new(page);
    let lsn = header.lsn();
    if header.is_new() {
        return if header.is_zeroed() {
            Verdict::New
        } else {
            Verdict::BadHeader { fault: HeaderFault::NewButNotZero, lsn }
        };
    }
    if checksums {
        let (stored, computed) = (header.checksum(), checksum(page, block));
        if stored != computed {
            return Verdict::ChecksumMismatch { stored, computed, lsn };
        }
    }
    match header.fault() {
        Some(fault) => Verdict::BadHeader { fault, lsn },
        None => Verdict::Valid { lsn },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut page = [0; 8192];
        page[4] = 8;
        page[12..14].copy_from_slice(&24u16.to_le_bytes());
        page[14..16].copy_from_slice(&8192u16.to_le_bytes());
        page[16..18].copy_from_slice(&8192u16.to_le_bytes());
        page[18..20].copy_from_slice(&8196u16.to_le_bytes());
        page
    }

    #[test]
    fn an_empty_page_is_valid_without_checksums_only() {
        assert_eq!(verify(&page(), 0, false), Verdict::Valid { lsn: Lsn(8) });
        assert!(matches!(verify(&page(), 0, true), Verdict::ChecksumMismatch { stored: 0, .. }));
    }

    #[test]
    fn new_pages_are_sound_only_when_zero() {
        let mut page = [0; 8192];
        assert_eq!(verify(&page, 9, true), Verdict::New);
        page[8191] = 1;
        let verdict = verify(&page, 9, true);
        assert!(
            matches!(verdict, Verdict::BadHeader { fault: HeaderFault::NewButNotZero, .. }),
            "{verdict:?}"
        );
    }

    #[test]
    fn each_header_fault_is_found() {
        for (at, value) in [(10, 8u8), (13, 0xFF), (17, 0xFF), (16, 1), (15, 0x21)] {
            let mut page = page();
            page[at] = value;
            assert!(!verify(&page, 0, false).is_sound(), "byte {at}");
        }
    }
}
