//! Block references, read from the beginning of a record and no more.

use walbrook_types::BlockNumber;

use crate::{RecordHeader, RelLocator};

/// A fork's number as PostgreSQL has it (`ForkNumber`).
pub(super) type ForkNumber = u8;

/// `FSM_FORKNUM`.
pub(super) const FSM: ForkNumber = 1;
/// `MAX_FORKNUM`: that of the init fork.
pub(super) const MAX_FORK: ForkNumber = 3;

/// The most bytes that a record's header and the headers of its fragments take: 33 block references
/// with a compressed image each, origin, top-level transaction and main data, rounded up.
pub(super) const MAX_HEADERS: usize = 1024;

/// Where a record's parts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// How long the headers are: where the images begin.
    pub(super) headers: usize,
    /// How long the main data are, which are the record's last bytes.
    pub(super) main: usize,
}

/// Why the headers could not be gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// They go on behind the bytes at hand.
    More,
    /// PostgreSQL writes nothing like it.
    Bad,
}

/// Goes through the headers of a record's fragments (`DecodeXLogRecord` in PostgreSQL's
/// `access/transam/xlogreader.c`), of which the first bytes are at hand, and calls `seen` with each
/// block reference. What lies in them is looked at only as far as lengths go.
#[inline]
pub(super) fn walk(
    record: &[u8],
    total_len: usize,
    mut seen: impl FnMut(&RelLocator, ForkNumber, BlockNumber),
) -> Result<Layout, Stop> {
    if let Some(layout) = walk_short(record, total_len, &mut seen) {
        return Ok(layout);
    }
    let mut at = RecordHeader::LEN;
    let mut announced = 0;
    let mut main = 0;
    let mut relation = None;
    // As long as there is more than the data that the headers have announced, there is another.
    while total_len.saturating_sub(at) > announced {
        let rest = record.get(at..).unwrap_or_default();
        let Some(id) = rest.first() else { return Err(Stop::More) };
        match id {
            0..=32 => {
                let Some([_, flags, d0, d1]) = rest.first_chunk() else { return Err(Stop::More) };
                let mut len = 4;
                announced += usize::from(u16::from_le_bytes([*d0, *d1]));
                if flags & 0x10 != 0 {
                    // The image: its length, its hole's place, and bits.
                    let Some([l0, l1, _, _, bits]) = rest.get(4..).and_then(|r| r.first_chunk())
                    else {
                        return Err(Stop::More);
                    };
                    announced += usize::from(u16::from_le_bytes([*l0, *l1]));
                    // A compressed one with a hole says how long that is.
                    len += if bits & 0x1C != 0 && bits & 0x01 != 0 { 7 } else { 5 };
                }
                if flags & 0x80 == 0 {
                    let Some(bytes) = rest.get(len..).and_then(|r| r.first_chunk()) else {
                        return Err(Stop::More);
                    };
                    relation = Some(RelLocator::from_bytes(bytes));
                    len += RelLocator::LEN;
                }
                let Some(block) = rest.get(len..).and_then(|r| r.first_chunk()) else {
                    return Err(Stop::More);
                };
                let (Some(relation), fork @ 0..=MAX_FORK) = (&relation, flags & 0x0F) else {
                    return Err(Stop::Bad);
                };
                seen(relation, fork, u32::from_le_bytes(*block));
                at += len + 4;
            }
            255 => {
                let Some([_, len]) = rest.first_chunk() else { return Err(Stop::More) };
                main = usize::from(*len);
                announced += main;
                at += 2;
            }
            254 => {
                let Some([_, a, b, c, d]) = rest.first_chunk() else { return Err(Stop::More) };
                main = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                announced += main;
                at += 5;
            }
            253 => at += 3,
            252 => at += 5,
            _ => return Err(Stop::Bad),
        }
        if at > MAX_HEADERS {
            return Err(Stop::Bad);
        }
    }
    match total_len.checked_sub(at) == Some(announced) {
        true => Ok(Layout { headers: at, main }),
        false => Err(Stop::Bad),
    }
}

/// The same for the two forms that most records have, at a fraction of the time: no block and a little
/// main data, or one block without an image and a little main data.
#[inline]
fn walk_short(
    record: &[u8],
    total_len: usize,
    seen: &mut impl FnMut(&RelLocator, ForkNumber, BlockNumber),
) -> Option<Layout> {
    const NONE: usize = RecordHeader::LEN + 2;
    const ONE: usize = NONE + 4 + RelLocator::LEN + 4;
    let head = record.first_chunk::<NONE>()?;
    let [.., id, len] = *head;
    if id == 255 {
        let main = usize::from(len);
        return (total_len == NONE + main).then_some(Layout { headers: NONE, main });
    }
    let head = record.first_chunk::<ONE>()?;
    let [.., 0, flags, d0, d1, a, b, c, d, e, f, g, h, i, j, k, l, w, x, y, z, 255, len] = *head
    else {
        return None;
    };
    let fork = flags & 0x0F;
    let main = usize::from(len);
    let data = usize::from(u16::from_le_bytes([d0, d1]));
    if flags & 0x90 != 0 || fork > MAX_FORK || total_len != ONE + data + main {
        return None;
    }
    let relation = RelLocator::from_bytes(&[a, b, c, d, e, f, g, h, i, j, k, l]);
    seen(&relation, fork, u32::from_le_bytes([w, x, y, z]));
    Some(Layout { headers: ONE, main })
}
