use std::ops::Range;

use crate::backup::batch::Target;
use crate::backup::compare::Known;
use crate::manifest::{Entry, EntryKind, Extent, FileContent, Place, extents};
use crate::{Error, ErrorKind, Result, checksum};

/// A file of a backup that is being put together, from its parts in whatever order they come.
pub(crate) struct OpenFile {
    pub(crate) target: Target,
    pub(crate) mode: u32,
    pub(crate) mtime: i64,
    pub(crate) known: Known,
    /// Where content goes that is not told where to go.
    pub(crate) end: u64,
    /// Bytes that are on their way into packs.
    pub(crate) pending: u64,
    /// Its size, once nothing more will come.
    pub(crate) size: Option<u64>,
    /// Where each extent begins in the file.
    extents: Vec<(u64, Extent)>,
    /// The checksums of parts: where each begins, and its length.
    checksums: Vec<(u64, u64, u32)>,
}

impl OpenFile {
    pub(crate) fn new(target: Target, mode: u32, mtime: i64, known: Known) -> Self {
        Self {
            target,
            mode,
            mtime,
            known,
            end: 0,
            pending: 0,
            size: None,
            extents: Vec::new(),
            checksums: Vec::new(),
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.size.is_some() && self.pending == 0
    }

    /// Puts an extent at its place in the file.
    pub(crate) fn place(&mut self, at: u64, extent: Extent) {
        if let Some((begin, last)) = self.extents.last_mut()
            && *begin + last.len == at
            && extents::join(last, &extent)
        {
            return;
        }
        self.extents.push((at, extent));
    }

    /// Puts zeros at their place in the file.
    pub(crate) fn place_zeros(&mut self, range: Range<u64>) {
        self.place(range.start, Extent { len: range.end - range.start, place: Place::Zero });
    }

    /// The checksum of a part that somebody has looked at.
    pub(crate) fn add_checksum(&mut self, range: Range<u64>, crc32c: u32) {
        self.checksums.push((range.start, range.end - range.start, crc32c));
    }

    /// The manifest's entry. Fails when a byte of the file was given twice or not at all.
    pub(crate) fn finish(mut self) -> Result<Entry> {
        let size = self.size.unwrap_or(self.end);
        self.extents.sort_by_key(|(at, _)| *at);
        let mut joined = Vec::with_capacity(self.extents.len());
        let mut end = 0;
        for (at, extent) in &self.extents {
            if *at != end {
                break;
            }
            end += extent.len;
            extents::push(&mut joined, *extent);
        }
        let given: u64 = self.extents.iter().map(|(_, extent)| extent.len).sum();
        if end != size || given != size {
            let message = format!(
                "the content of {:?} was not given exactly once: of {size} bytes it was up to byte \
                 {end}, and {given} bytes in all",
                self.target.path
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let crc32c = self.checksum(size);
        let kind = EntryKind::File(FileContent { size, crc32c, extents: joined });
        Ok(Entry { path: self.target.path.to_string(), mode: self.mode, mtime: self.mtime, kind })
    }

    /// The checksum of the whole file, when that of each part is known.
    fn checksum(&mut self, size: u64) -> Option<u32> {
        self.checksums.sort_by_key(|(at, ..)| *at);
        let (mut end, mut whole) = (0, 0);
        for (at, len, crc32c) in &self.checksums {
            if *at != end {
                return None;
            }
            end += len;
            whole = checksum::combine(whole, *crc32c, *len);
        }
        (end == size).then_some(whole)
    }
}
