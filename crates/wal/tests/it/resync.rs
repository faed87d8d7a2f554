use bytes::Bytes;
use walbrook_types::Lsn;
use walbrook_wal::{Decoder, EndReason, Record};

use crate::oracle::decode;
use crate::server::{Wal, each};
use crate::writer::{BASE, MIB, Writer};

const PAGE: u64 = 8192;

/// How many pages are read behind a damaged place.
const BEHIND: u64 = 4;

/// What is read of these bytes with as many errors as there are, and how many there were.
fn read(decoder: &mut Decoder, bytes: Bytes, piece: usize) -> (Vec<Record>, usize) {
    let (mut records, mut errors) = (Vec::new(), 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        decoder.feed(rest.split_to(piece.min(rest.len())));
        loop {
            match decoder.next() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(), Err(error), "it stays until it is dealt with");
                    errors += 1;
                    decoder.resync();
                }
            }
        }
    }
    (records, errors)
}

/// Reads around a byte that is changed. Answers what was read there undamaged, and what damaged.
fn around(wal: &Wal, bytes: &Bytes, at: Lsn, change: u8, piece: usize) -> Option<[Vec<Record>; 2]> {
    let begin = Lsn((at.0 / PAGE).saturating_sub(2) * PAGE).max(wal.start());
    let from = (begin.0 - wal.start().0) as usize;
    let to = ((at.0 / PAGE + BEHIND) * PAGE - wal.start().0) as usize;
    let sound = bytes.get(from..to)?;
    let mut damaged = sound.to_vec();
    damaged[(at.0 - begin.0) as usize] ^= change;
    let (sound, errors) =
        read(&mut Decoder::new(begin, wal.size), Bytes::copy_from_slice(sound), piece);
    assert_eq!(errors, 0);
    let mut decoder = Decoder::new(begin, wal.size);
    let (damaged, errors) = read(&mut decoder, damaged.into(), piece);
    // A length of zero, or an older page, is the end of the log and not an error.
    if decoder.end().is_some() {
        return None;
    }
    assert!(errors <= 1, "{errors} errors of one byte at {at}");
    Some([sound, damaged])
}

/// Each record of the undamaged log is one of `pg_waldump`'s lines, as another test shows: so what is
/// compared with here is what it says.
#[test]
fn every_record_but_the_damaged_one_is_found() {
    each(&[1], |wal| {
        let bytes = Bytes::from(wal.read());
        let whole = decode(wal, &bytes, bytes.len());
        let (mut tried, mut long) = (0, 0);
        // Every so many, and each that lies on several pages but few.
        let spans = |r: &Record| r.lsn.0 % PAGE + u64::from(r.header.total_len) > PAGE;
        let victims = whole.iter().enumerate().filter(|(index, record)| {
            record.header.total_len < 3 * PAGE as u32
                && (index % 1009 == 0 || index % 67 == 0 && spans(record))
        });
        for (index, victim) in victims.skip(1) {
            // Length, transaction, back link, info, resource manager, CRC, body.
            for byte in [0, 1, 2, 3, 5, 9, 12, 16, 17, 21, 25] {
                // Where the next page's header comes between, it is not the record's byte.
                let at = victim.lsn + byte;
                if at.0 / PAGE != victim.lsn.0 / PAGE || victim.header.is_switch() {
                    continue;
                }
                let change = 1 << ((index as u64 + byte) % 8);
                let piece = [1 << 20, 5000, 777][tried % 3];
                let Some([sound, damaged]) = around(wal, &bytes, at, change, piece) else {
                    continue;
                };
                let expected: Vec<_> = sound.iter().filter(|r| r.lsn != victim.lsn).collect();
                let expected: Vec<_> =
                    if damaged.len() == sound.len() { sound.iter().collect() } else { expected };
                assert!(
                    damaged.iter().eq(expected.iter().copied()),
                    "{}: byte {byte} of {} ^ {change:#x}: lost {:?}",
                    wal.major,
                    victim.lsn,
                    expected.iter().find(|r| !damaged.contains(r)).map(|r| r.lsn),
                );
                tried += 1;
                long += usize::from(spans(victim));
            }
        }
        assert!(tried > 200 && long > 50, "{tried} tried, {long} of them on several pages");
    });
}

#[test]
fn records_on_a_page_with_a_damaged_header_are_found() {
    each(&[1], |wal| {
        let bytes = Bytes::from(wal.read());
        let mut found = 0;
        for page in (3..wal.segments.len() as u64 * (MIB / PAGE) - BEHIND).step_by(53) {
            let page_at = wal.start() + page * PAGE;
            // The magic, the flags, the timeline, and the position made greater.
            for (byte, change) in [(0, 0x44), (3, 0x10), (5, 1), (14, 0x40)] {
                let Some([sound, damaged]) = around(wal, &bytes, page_at + byte, change, 1 << 20)
                else {
                    continue;
                };
                // Without a record before, nobody could tell that the page is none of a former life.
                if sound.first().is_none_or(|r| r.lsn >= page_at) {
                    continue;
                }
                // Lost is what goes on in this page; or, when this page is believed and the next
                // seems to go back to an older timeline, in that.
                let end = page_at + PAGE;
                let broken = if byte == 5 { end } else { page_at };
                let expected: Vec<_> = sound
                    .iter()
                    .filter(|r| {
                        let last = r.lsn + u64::from(r.header.total_len);
                        r.lsn >= broken || last <= broken
                    })
                    .collect();
                assert!(
                    damaged.iter().eq(expected.iter().copied()),
                    "{}: page at {page_at}, byte {byte}: lost {:?}, found {:?}",
                    wal.major,
                    expected.iter().find(|r| !damaged.contains(r)).map(|r| (r.lsn, &r.header)),
                    damaged.iter().find(|r| !expected.contains(r)).map(|r| (r.lsn, &r.header)),
                );
                found += expected.iter().filter(|r| r.lsn > page_at && r.lsn < end).count();
            }
        }
        assert!(found > 300, "{found}");
    });
}

#[test]
fn a_damaged_switch_does_not_end_the_log() {
    let mut w = Writer::new();
    let before = w.record(21, 0, &[1; 100]);
    let switch = w.record(0, 0x40, &[]);
    // As PostgreSQL does: the pages up to the segment's end have headers and nothing else.
    while w.at() < BASE + MIB {
        w.bytes.resize(w.bytes.len().next_multiple_of(PAGE as usize), 0);
        if w.at() < BASE + MIB {
            w.page(0, 0);
        }
    }
    let after = w.record(21, 0, &[3; 10]);
    let mut bytes = w.padded(2 * MIB);
    let lsns = |bytes: &[u8]| {
        let size = walbrook_types::WalSegmentSize::new(MIB).unwrap();
        let mut decoder = Decoder::new(Lsn(BASE), size);
        let (records, errors) = read(&mut decoder, Bytes::copy_from_slice(bytes), 10_000);
        assert_eq!(decoder.end().map(|end| end.reason), Some(EndReason::Zeroed));
        (records.iter().map(|r| r.lsn.0).collect::<Vec<_>>(), errors)
    };
    assert_eq!(lsns(&bytes), (vec![before, switch, after], 0));
    bytes[(switch - BASE) as usize + 20] ^= 1;
    assert_eq!(lsns(&bytes), (vec![before, after], 1));
}

#[test]
fn what_a_recycled_page_holds_is_not_found_again() {
    // A log that ends in a page with a broken header, behind which lies the segment's former life.
    let mut old = Writer { base: BASE - 3 * MIB, ..Writer::new() };
    for _ in 0..200 {
        old.record(21, 0, &[9; 100]);
    }
    let mut w = Writer { prev: BASE - 100, ..Writer::new() };
    while w.at() < BASE + PAGE {
        w.record(21, 0, &[1; 2000]);
    }
    let mut bytes = w.bytes;
    bytes.truncate(PAGE as usize);
    bytes.extend(&old.bytes[PAGE as usize..2 * PAGE as usize]);
    bytes[PAGE as usize] ^= 0x40;
    bytes.resize(MIB as usize, 0);
    let size = walbrook_types::WalSegmentSize::new(MIB).unwrap();
    let (records, errors) = read(&mut Decoder::new(Lsn(BASE), size), bytes.into(), 1 << 20);
    let lsns: Vec<_> = records.iter().map(|r| r.lsn).collect();
    assert!(
        errors == 1 && !lsns.is_empty() && lsns.iter().all(|lsn| *lsn < Lsn(BASE + PAGE)),
        "{lsns:?}"
    );
}

#[test]
fn garbage_is_searched_without_being_kept() {
    let mut w = Writer::new();
    while w.at() < BASE + 2 * PAGE {
        w.record(21, 0, &[1; 100]);
    }
    let mut bytes = w.bytes;
    bytes.truncate(2 * PAGE as usize);
    // Behind it, headers of records with every length over and over: the worst to search.
    let mut number = 7u64;
    while bytes.len() < 4 << 20 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = 24 + (number >> 33) as u32 % if number >> 63 == 0 { 8000 } else { 1 << 29 };
        let back = BASE + bytes.len() as u64 - 8;
        bytes.extend(len.to_le_bytes());
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(back.to_le_bytes());
        bytes.extend([0, 21, 0, 0, 1, 2, 3, 4]);
    }
    let size = walbrook_types::WalSegmentSize::new(MIB).unwrap();
    let mut decoder = Decoder::new(Lsn(BASE), size);
    let mut rest = Bytes::from(bytes);
    while !rest.is_empty() {
        decoder.feed(rest.split_to(rest.len().min(1000)));
        loop {
            match decoder.next() {
                Ok(Some(record)) => assert!(record.lsn < Lsn(BASE + 2 * PAGE)),
                Ok(None) => break,
                Err(_) => decoder.resync(),
            }
        }
        assert!(decoder.buffered() < 2 * PAGE as usize, "{}", decoder.buffered());
    }
    assert_eq!(decoder.end(), None);
}
