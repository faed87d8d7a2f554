//! The encoding of a file's extents.
//!
//! After years of incremental backups a file of 131,072 pages may be that many extents, each in
//! one of the few frames that were being filled when this part of the file last changed. So the
//! frames that the file used last are remembered, and an extent is mostly three small numbers:
//! its length in pages, which of those frames, and how far behind that frame's last extent.

use walbrook_types::BLOCK_SIZE;

use crate::manifest::{Extent, Place};
use crate::wire::{Put, Reader};

/// Kinds, in the lowest two bits of an extent's first number.
const FRAME: u64 = 0;
const ZERO: u64 = 1;
/// In a frame of [`Recent`], at a distance from the end of its last extent.
const FOLLOWS: u64 = 2;
/// In a frame of [`Recent`], as far behind its last extent there as in the file.
const BESIDE: u64 = 3;

/// The bit that says that lengths and offsets count pages, not bytes.
const IN_PAGES: u64 = 4;

const PAGE: u64 = BLOCK_SIZE as u64;

/// The frames that a file used last, most recent first.
#[derive(Default)]
struct Recent(Vec<Use>);

/// How many frames are remembered.
const RECENT: usize = 64;

/// A frame's last extent in the file.
#[derive(Clone, Copy)]
struct Use {
    frame: u64,
    /// Where the extent ended in the frame.
    frame_end: u64,
    /// Where it ended in the file.
    file_end: u64,
}

impl Recent {
    fn position(&self, frame: u64) -> Option<usize> {
        self.0.iter().position(|used| used.frame == frame)
    }

    /// Makes this the most recent one, in place of what is at `position`.
    fn touch(&mut self, position: Option<usize>, used: Use) {
        match position {
            Some(position) => self.0[..=position].rotate_right(1),
            None => {
                self.0.truncate(RECENT - 1);
                self.0.insert(0, used);
            }
        }
        self.0[0] = used;
    }
}

/// Appends extents. Frames that are not among the recent ones are written as the difference to
/// the frame before, which `last_frame` carries from file to file.
pub(crate) fn encode(extents: &[Extent], last_frame: &mut u64, out: &mut Vec<u8>) {
    let mut recent = Recent::default();
    let mut at = 0;
    for extent in extents {
        let put_tag = |out: &mut Vec<u8>, kind: u64, in_pages: bool| {
            let (len, bit) = if in_pages { (extent.len / PAGE, IN_PAGES) } else { (extent.len, 0) };
            out.put_number(len << 3 | bit | kind);
        };
        let whole = extent.len.is_multiple_of(PAGE);
        if let Place::Frame { frame, offset } = extent.place {
            let offset = u64::from(offset);
            let position = recent.position(frame);
            match position.map(|position| (position, recent.0[position])) {
                Some((position, used)) if offset == used.frame_end + (at - used.file_end) => {
                    put_tag(out, BESIDE, whole);
                    out.put_number(position as u64);
                }
                Some((position, used)) => {
                    let skip = offset as i64 - used.frame_end as i64;
                    let in_pages = whole && skip % PAGE as i64 == 0;
                    put_tag(out, FOLLOWS, in_pages);
                    out.put_number(position as u64);
                    out.put_signed(if in_pages { skip / PAGE as i64 } else { skip });
                }
                None => {
                    let in_pages = whole && offset.is_multiple_of(PAGE);
                    put_tag(out, FRAME, in_pages);
                    out.put_signed(frame.wrapping_sub(*last_frame) as i64);
                    out.put_number(if in_pages { offset / PAGE } else { offset });
                }
            }
            *last_frame = frame;
            let used = Use { frame, frame_end: offset + extent.len, file_end: at + extent.len };
            recent.touch(position, used);
        } else {
            put_tag(out, ZERO, whole);
        }
        at += extent.len;
    }
}

/// Reads back what [`encode`] wrote. `None` when it is malformed, when an extent is empty, or when
/// they do not add up to `size`.
pub(crate) fn decode(size: u64, last_frame: &mut u64, r: &mut Reader<'_>) -> Option<Vec<Extent>> {
    let count = r.count(1)?;
    // An extent in memory is larger than in the object: no more is reserved at once than is sure
    // to be needed soon.
    let mut extents = Vec::with_capacity(count.min(1 << 10));
    let mut recent = Recent::default();
    let mut at = 0u64;
    for _ in 0..count {
        let tag = r.number()?;
        let unit = if tag & IN_PAGES == 0 { 1 } else { PAGE };
        let len = (tag >> 3).checked_mul(unit).filter(|len| *len > 0)?;
        let end = at.checked_add(len).filter(|end| *end <= size)?;
        let place = match tag & 3 {
            ZERO => Place::Zero,
            kind => {
                let (position, frame, offset) = if kind == FRAME {
                    let frame = last_frame.wrapping_add(r.signed()? as u64);
                    (recent.position(frame), frame, r.number()?.checked_mul(unit)?)
                } else {
                    let position: usize = r.number_as()?;
                    let used = recent.0.get(position)?;
                    let offset = if kind == BESIDE {
                        used.frame_end.checked_add(at - used.file_end)?
                    } else {
                        let skip = r.signed()?.checked_mul(unit as i64)?;
                        used.frame_end.checked_add_signed(skip)?
                    };
                    (Some(position), used.frame, offset)
                };
                let offset = u32::try_from(offset).ok()?;
                let frame_end = u64::from(offset).checked_add(len)?;
                recent.touch(position, Use { frame, frame_end, file_end: end });
                *last_frame = frame;
                Place::Frame { frame, offset }
            }
        };
        extents.push(Extent { len, place });
        at = end;
    }
    (at == size).then_some(extents)
}

/// Makes an extent longer by what follows it in the file, when that goes on where it ends.
pub(crate) fn join(last: &mut Extent, next: &Extent) -> bool {
    let goes_on = match (last.place, next.place) {
        (Place::Zero, Place::Zero) => true,
        (Place::Frame { frame, offset }, Place::Frame { frame: other, offset: at }) => {
            frame == other && u64::from(offset) + last.len == u64::from(at)
        }
        _ => false,
    };
    if goes_on {
        last.len += next.len;
    }
    goes_on
}

/// Adds an extent to others, or makes the last of them longer.
pub(crate) fn push(extents: &mut Vec<Extent>, extent: Extent) {
    if !extents.last_mut().is_some_and(|last| join(last, &extent)) {
        extents.push(extent);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn encoded(extents: &[Extent]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_number(extents.len() as u64);
        encode(extents, &mut 0, &mut out);
        out
    }

    fn size(extents: &[Extent]) -> u64 {
        extents.iter().map(|extent| extent.len).sum()
    }

    fn extents() -> impl Strategy<Value = Vec<Extent>> {
        let len = prop_oneof![(1..40u64).prop_map(|pages| pages * PAGE), 1..100_000u64];
        let offset = prop_oneof![(0..128u32).prop_map(|page| page * PAGE as u32), any::<u32>()];
        let place = prop_oneof![
            1 => Just(Place::Zero),
            9 => (0..90u64, offset).prop_map(|(frame, offset)| Place::Frame { frame, offset }),
        ];
        vec((len, place).prop_map(|(len, place)| Extent { len, place }), 0..300)
    }

    proptest! {
        #[test]
        fn extents_read_back(extents in extents(), number in any::<u64>()) {
            let mut out = Vec::new();
            let (mut last, mut again) = (number, number);
            out.put_number(extents.len() as u64);
            encode(&extents, &mut last, &mut out);
            let mut reader = Reader(&out);
            let read = decode(size(&extents), &mut again, &mut reader);
            prop_assert_eq!(read, Some(extents));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(last, again);
        }

        #[test]
        fn any_bytes_are_refused_or_extents(bytes in vec(any::<u8>(), 0..200), size in any::<u64>()) {
            if let Some(extents) = decode(size, &mut 0, &mut Reader(&bytes)) {
                prop_assert_eq!(self::size(&extents), size);
                prop_assert!(extents.iter().all(|extent| extent.len > 0));
            }
        }
    }

    /// A file of 1 GiB after many incremental backups: every page where one of them put it.
    #[test]
    fn scattered_pages_take_a_few_bytes_each() {
        let mut state = 1u64;
        let mut ends = [0u64; 50];
        let extents: Vec<_> = (0..131_072u64)
            .map(|block| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let backup = (state >> 33) as usize % ends.len();
                let page = if backup == 0 { block } else { ends[backup] };
                ends[backup] += 1;
                let frame = backup as u64 * 10_000 + page / 128;
                let offset = (page % 128 * PAGE) as u32;
                Extent { len: PAGE, place: Place::Frame { frame, offset } }
            })
            .collect();
        let bytes = encoded(&extents).len();
        assert!(bytes < extents.len() * 4, "{bytes} bytes for {} extents", extents.len());

        let one_in_ten: Vec<_> = (0..131_072u64)
            .map(|block| {
                let changed = block % 10 == 0;
                let (first, page) = if changed { (5_000, block / 10) } else { (0, block) };
                let (frame, offset) = (first + page / 128, (page % 128 * PAGE) as u32);
                Extent { len: PAGE, place: Place::Frame { frame, offset } }
            })
            .fold(Vec::new(), |mut all, extent| {
                push(&mut all, extent);
                all
            });
        let bytes = encoded(&one_in_ten).len();
        assert!(bytes < one_in_ten.len() * 3, "{bytes} for {} extents", one_in_ten.len());
    }
}
