use std::ops::Range;
use std::sync::Arc;

use crate::manifest::{Extent, Place};

/// A file as an earlier backup has it.
///
/// The frames of its extents are numbers of the [`BaseIndex`](crate::BaseIndex) that it is from,
/// which [`BaseIndex::frame`](crate::BaseIndex::frame) resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    pub(crate) path: Arc<str>,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) mtime: i64,
    pub(crate) crc32c: Option<u32>,
    /// Where each extent begins in the file. What an interrupted backup has left has gaps.
    pub(crate) extents: Vec<(u64, Extent)>,
}

impl BaseFile {
    /// Its path in the earlier backup.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its permission bits.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// When it was last modified, in seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.mtime
    }

    /// The CRC-32C of its content, where it is known.
    pub fn crc32c(&self) -> Option<u32> {
        self.crc32c
    }

    /// Where its content is: extents with the place in the file where each begins, in order.
    pub fn extents(&self) -> &[(u64, Extent)] {
        &self.extents
    }

    /// The extents of a range of the file, cut to it.
    pub(crate) fn slice(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Extent)> {
        let first = self.extents.partition_point(|(at, extent)| at + extent.len <= range.start);
        let within = self.extents[first..].iter();
        let end = range.end;
        within.take_while(move |(at, _)| *at < end).map(move |(at, extent)| {
            let begin = range.start.max(*at);
            let len = range.end.min(at + extent.len) - begin;
            let place = match extent.place {
                Place::Zero => Place::Zero,
                Place::Frame { frame, offset } => {
                    // Frames are far smaller than 4 GiB, and the extent lies inside its frame.
                    Place::Frame { frame, offset: offset + (begin - at) as u32 }
                }
            };
            (begin, Extent { len, place })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_cut_to_its_range() {
        let place = |frame| Place::Frame { frame, offset: 100 };
        let file = BaseFile {
            path: "base/5/1".into(),
            size: 60,
            mode: 0,
            mtime: 0,
            crc32c: None,
            extents: vec![
                (0, Extent { len: 10, place: place(1) }),
                (10, Extent { len: 20, place: Place::Zero }),
                (40, Extent { len: 20, place: place(2) }),
            ],
        };
        let slice = |range| file.slice(range).collect::<Vec<_>>();
        assert_eq!(slice(0..60), file.extents);
        assert_eq!(slice(30..40), []);
        assert_eq!(slice(0..0), []);
        let cut = [
            (4, Extent { len: 6, place: Place::Frame { frame: 1, offset: 104 } }),
            (10, Extent { len: 20, place: Place::Zero }),
            (40, Extent { len: 5, place: place(2) }),
        ];
        assert_eq!(slice(4..45), cut);
        assert_eq!(slice(12..14), [(12, Extent { len: 2, place: Place::Zero })]);
    }
}
