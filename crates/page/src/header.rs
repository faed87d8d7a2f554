use std::fmt;

use walbrook_types::{BLOCK_SIZE, Lsn};

use crate::Page;

/// The flag bits that PostgreSQL defines (`PD_VALID_FLAG_BITS`): `PD_HAS_FREE_LINES`,
/// `PD_PAGE_FULL`, `PD_ALL_VISIBLE`.
const VALID_FLAGS: u16 = 0x0007;

/// A view of a page's header (`PageHeaderData` in PostgreSQL's `storage/bufpage.h`).
///
/// All fields are read as a little-endian machine writes them.
#[derive(Clone, Copy)]
pub struct PageHeader<'a>(&'a Page);

impl<'a> PageHeader<'a> {
    /// Of this page.
    pub fn new(page: &'a Page) -> Self {
        Self(page)
    }

    /// Of the page that these bytes are; none when they are not exactly one page.
    pub fn from_slice(bytes: &'a [u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn u16_at(self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32_at(self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// `pd_lsn`: the position just behind the WAL record of the page's last change. Stored as two
    /// 32-bit halves, the high one first.
    pub fn lsn(self) -> Lsn {
        Lsn(u64::from(self.u32_at(0)) << 32 | u64::from(self.u32_at(4)))
    }

    /// `pd_checksum`: meaningful only in a cluster with data checksums.
    pub fn checksum(self) -> u16 {
        self.u16_at(8)
    }

    /// `pd_flags`.
    pub fn flags(self) -> u16 {
        self.u16_at(10)
    }

    /// `pd_lower`: offset of the free space's start in bytes.
    pub fn lower(self) -> u16 {
        self.u16_at(12)
    }

    /// `pd_upper`: offset of the free space's end in bytes.
    pub fn upper(self) -> u16 {
        self.u16_at(14)
    }

    /// `pd_special`: offset of the space that an index keeps for itself, in bytes.
    pub fn special(self) -> u16 {
        self.u16_at(16)
    }

    /// The page's size in bytes, as `pd_pagesize_version` says.
    pub fn page_size(self) -> u16 {
        self.u16_at(18) & 0xFF00
    }

    /// The layout version, as `pd_pagesize_version` says: 4 since PostgreSQL 8.3.
    pub fn layout_version(self) -> u8 {
        (self.u16_at(18) & 0x00FF) as u8
    }

    /// `pd_prune_xid`: the oldest transaction whose leavings a prune might remove; zero if none.
    pub fn prune_xid(self) -> u32 {
        self.u32_at(20)
    }

    /// Whether the page was never initialised (`PageIsNew`): a relation was extended by it, and
    /// no more. PostgreSQL tests `pd_upper` alone; such a page is sound only when
    /// [all of it is zero](Self::is_zeroed).
    pub fn is_new(self) -> bool {
        self.upper() == 0
    }

    /// Whether every byte of the page is zero.
    pub fn is_zeroed(self) -> bool {
        // Folding words is several times faster than a search for the first byte that is not zero.
        let (words, _) = self.0.as_chunks::<64>();
        words.iter().all(|word| word.iter().fold(0, |or, byte| or | byte) == 0)
    }

    /// What `PageIsVerified` in PostgreSQL's `storage/page/bufpage.c` finds wrong with the header
    /// of a page that is not new; none when it is sane. Exactly PostgreSQL's test and no more, so
    /// that nothing is called damaged that the server would read.
    pub fn fault(self) -> Option<HeaderFault> {
        let (lower, upper, special) = (self.lower(), self.upper(), self.special());
        if self.flags() & !VALID_FLAGS != 0 {
            Some(HeaderFault::Flags(self.flags()))
        } else if lower > upper
            || upper > special
            || usize::from(special) > BLOCK_SIZE
            || !special.is_multiple_of(8)
        {
            Some(HeaderFault::Bounds { lower, upper, special })
        } else {
            None
        }
    }
}

impl fmt::Debug for PageHeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageHeader")
            .field("lsn", &self.lsn())
            .field("checksum", &self.checksum())
            .field("flags", &self.flags())
            .field("lower", &self.lower())
            .field("upper", &self.upper())
            .field("special", &self.special())
            .field("page_size", &self.page_size())
            .field("layout_version", &self.layout_version())
            .field("prune_xid", &self.prune_xid())
            .finish()
    }
}

/// What is wrong with a page header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Flag bits that PostgreSQL does not define.
    Flags(u16),
    /// Offsets that are out of order or out of the page.
    Bounds {
        /// `pd_lower`.
        lower: u16,
        /// `pd_upper`.
        upper: u16,
        /// `pd_special`.
        special: u16,
    },
    /// Marked as new, and yet not all zero.
    NewButNotZero,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(flags) => write!(f, "undefined flag bits in {flags:#06x}"),
            Self::Bounds { lower, upper, special } => {
                write!(f, "impossible offsets: lower {lower}, upper {upper}, special {special}")
            }
            Self::NewButNotZero => f.write_str("marked as new but not all zero"),
        }
    }
}
