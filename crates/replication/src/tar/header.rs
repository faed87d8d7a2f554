//! A member's header: `tarCreateHeader` in PostgreSQL's `src/port/tar.c`, offsets in
//! `enum tarHeaderOffset` of `pgtar.h`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{BLOCK, EntryKind, TarEntry};

const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE_FLAG: usize = 156;
const LINK_NAME: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 5);
const PREFIX: (usize, usize) = (345, 155);

pub(super) fn parse(block: &[u8; BLOCK]) -> Result<TarEntry, String> {
    let field = |(offset, length): (usize, usize)| &block[offset..offset + length];
    let number_of = |place, what: &str| {
        number(field(place)).ok_or_else(|| format!("a member's header has no valid {what}"))
    };
    if number_of(CHECKSUM, "checksum")? != checksum(block) {
        return Err("a member's header fails its checksum".to_owned());
    }
    if field(MAGIC) != b"ustar" {
        return Err("a member's header is not in the ustar format".to_owned());
    }
    let mut path = Vec::new();
    let prefix = until_nul(field(PREFIX));
    if !prefix.is_empty() {
        path.extend_from_slice(prefix);
        path.push(b'/');
    }
    path.extend_from_slice(until_nul(field(NAME)));
    let shown = String::from_utf8_lossy(&path).into_owned();
    let kind = match block[TYPE_FLAG] {
        b'0' | 0 => EntryKind::File,
        b'5' => EntryKind::Directory,
        b'2' => match until_nul(field(LINK_NAME)) {
            b"" => return Err(format!("the symbolic link {shown:?} has no target")),
            target => EntryKind::Symlink(PathBuf::from(OsStr::from_bytes(target))),
        },
        other => {
            let other = char::from(other).escape_default();
            return Err(format!("member {shown:?} is of type '{other}', which is not supported"));
        }
    };
    // Directories, and links to them, end in a slash.
    if let (EntryKind::Directory | EntryKind::Symlink(_), Some(b'/')) = (&kind, path.last()) {
        path.pop();
    }
    // basebackup.c names a few directories from the root on, as in "./pg_wal/archive_status".
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| *part != b".").collect();
    // Whoever writes this path below a directory must not end up elsewhere.
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, b"" | b"..")) {
        return Err(format!(
            "member {shown:?} has a path that is absolute, or has an empty or \"..\" component"
        ));
    }
    let path = parts.join(&b'/');
    let size = number_of(SIZE, "size")?;
    if size != 0 && kind != EntryKind::File {
        return Err(format!("member {shown:?} has content, but is not a file"));
    }
    let mode = number_of(MODE, "mode")?;
    Ok(TarEntry {
        path: PathBuf::from(OsStr::from_bytes(&path)),
        kind,
        size,
        // The low twelve bits always fit.
        mode: (mode & 0o7777) as u32,
        mtime: number_of(MTIME, "time")?,
        uid: number_of(UID, "owner")?,
        gid: number_of(GID, "group")?,
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits ended by a space or NUL, or, after a byte 0x80, big-endian binary: `read_tar_number`.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, binary)) = field.split_first() {
        return binary
            .iter()
            .try_fold(0_u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte)));
    }
    let end = field.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(field.len());
    if end == 0 {
        return None;
    }
    field[..end].iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'7' => Some(value << 3 | u64::from(byte - b'0')),
        _ => None,
    })
}

/// The sum of all bytes, with the checksum itself taken as eight spaces: `tarChecksum`.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u64 {
    let all: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1].iter().map(|b| u64::from(*b)).sum();
    all - own + 8 * u64::from(b' ')
}
