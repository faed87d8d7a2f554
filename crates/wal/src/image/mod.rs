//! Full-page images back into pages.

mod pglz;

use walbrook_types::BLOCK_SIZE;

use crate::{Compression, Error, ErrorKind, PageImage};

impl PageImage<'_> {
    /// Writes the page as it was when the record was written: unpacked, its hole of zeroes put back
    /// (`RestoreBlockImage` in PostgreSQL's `access/transam/xlogreader.c`). Its checksum is not to be
    /// relied on: PostgreSQL computes that when it writes a page to its file, not for an image.
    ///
    /// # Errors
    ///
    /// [`BadImage`](ErrorKind::BadImage) when the image does not unpack to exactly a page;
    /// [`Unsupported`](ErrorKind::Unsupported) for LZ4 and Zstandard when this crate was built without
    /// its feature `lz4` or `zstd`. The page's content is unspecified then.
    pub fn restore(&self, page: &mut [u8; BLOCK_SIZE]) -> Result<(), Error> {
        let (hole_at, hole_len) = (usize::from(self.hole_offset), usize::from(self.hole_len));
        let packed_len = BLOCK_SIZE.checked_sub(hole_len).filter(|len| hole_at <= *len);
        let packed_len = packed_len.ok_or_else(|| damaged("with a hole outside of the page"))?;
        let without_hole = page.get_mut(..packed_len).unwrap_or_default();
        match self.compression {
            Compression::None if self.bytes.len() == packed_len => {
                without_hole.copy_from_slice(self.bytes);
            }
            Compression::None => return Err(damaged("of a wrong length")),
            Compression::Pglz => pglz::decompress(self.bytes, without_hole)
                .ok_or_else(|| damaged("that does not unpack by pglz"))?,
            Compression::Lz4 => lz4(self.bytes, without_hole)?,
            Compression::Zstd => zstd(self.bytes, without_hole)?,
        }
        page.copy_within(hole_at..packed_len, hole_at + hole_len);
        page.get_mut(hole_at..hole_at + hole_len).unwrap_or_default().fill(0);
        Ok(())
    }
}

#[cfg(feature = "lz4")]
fn lz4(packed: &[u8], out: &mut [u8]) -> Result<(), Error> {
    match lz4_flex::block::decompress_into(packed, out) {
        Ok(len) if len == out.len() => Ok(()),
        _ => Err(damaged("that does not unpack by LZ4")),
    }
}

#[cfg(not(feature = "lz4"))]
fn lz4(_: &[u8], _: &mut [u8]) -> Result<(), Error> {
    Err(unsupported("LZ4", "lz4"))
}

#[cfg(feature = "zstd")]
fn zstd(packed: &[u8], out: &mut [u8]) -> Result<(), Error> {
    match zstd::bulk::decompress_to_buffer(packed, out) {
        Ok(len) if len == out.len() => Ok(()),
        _ => Err(damaged("that does not unpack by Zstandard")),
    }
}

#[cfg(not(feature = "zstd"))]
fn zstd(_: &[u8], _: &mut [u8]) -> Result<(), Error> {
    Err(unsupported("Zstandard", "zstd"))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::BadImage, format!("full-page image {what}"))
}

#[cfg(not(all(feature = "lz4", feature = "zstd")))]
fn unsupported(method: &str, feature: &str) -> Error {
    let message = format!(
        "full-page image compressed by {method}: walbrook-wal was built without its feature {feature}"
    );
    Error::new(ErrorKind::Unsupported, message)
}
