/// A version of the WAL format, told by the magic number of every page (`XLOG_PAGE_MAGIC` in
/// PostgreSQL's `access/xlog_internal.h`). It does not change within a major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WalVersion {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

impl WalVersion {
    /// All, oldest first.
    pub const ALL: [Self; 4] = [Self::V15, Self::V16, Self::V17, Self::V18];

    /// The version whose pages carry this magic number.
    pub fn from_magic(magic: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.magic() == magic)
    }

    /// The magic number on its pages.
    pub fn magic(self) -> u16 {
        match self {
            Self::V15 => 0xD110,
            Self::V16 => 0xD113,
            Self::V17 => 0xD116,
            Self::V18 => 0xD118,
        }
    }

    /// The major version of PostgreSQL.
    pub fn major(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }
}
