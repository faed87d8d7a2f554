use proptest::prelude::*;

use super::*;

/// A member as PostgreSQL writes it, from the format's description.
fn member(name: &str, flag: u8, link: &str, content: &[u8], size: Option<u64>) -> Vec<u8> {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600 ");
    put(108, b"0000145 ");
    put(116, b"0000147 ");
    match size {
        Some(big) => {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &big.to_be_bytes());
        }
        None => put(124, format!("{:011o} ", content.len()).as_bytes()),
    }
    put(136, format!("{:011o} ", 1_700_000_000).as_bytes());
    put(156, &[flag]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum = header::checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:07o} ").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn archive() -> Vec<u8> {
    let mut bytes = member("backup_label", b'0', "", b"START WAL LOCATION", None);
    bytes.extend(member("./base/", b'5', "", b"", None));
    bytes.extend(member("base/1/empty", b'0', "", b"", None));
    bytes.extend(member("pg_tblspc/16385/", b'2', "/mnt/ts", b"", None));
    bytes.extend(member("base/1/1259", b'0', "", &[7; 1536], None));
    bytes.extend(member("base/1/1260", b'0', "", &[9; 700], None));
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// All events, with adjacent data joined, or the error.
fn read(pieces: &[&[u8]]) -> Result<Vec<TarEvent>, Error> {
    let mut reader = TarReader::new();
    let mut events: Vec<TarEvent> = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = reader.next()? {
            match (events.last_mut(), event) {
                (Some(TarEvent::Data(before)), TarEvent::Data(data)) => {
                    *before = [&before[..], &data[..]].concat().into();
                }
                (_, event) => events.push(event),
            }
        }
    }
    reader.finish()?;
    Ok(events)
}

#[test]
fn reads_what_postgresql_writes() {
    let events = read(&[&archive()]).unwrap();
    let entries: Vec<&TarEntry> = events
        .iter()
        .filter_map(|event| match event {
            TarEvent::Entry(entry) => Some(entry),
            _ => None,
        })
        .collect();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[0].path.to_str(), Some("backup_label"));
    assert_eq!((entries[0].mode, entries[0].uid, entries[0].gid), (0o600, 0o145, 0o147));
    assert_eq!((entries[0].mtime, entries[0].size), (1_700_000_000, 18));
    assert_eq!(entries[1].path.to_str(), Some("base"));
    assert_eq!(entries[1].kind, EntryKind::Directory);
    assert_eq!(entries[3].kind, EntryKind::Symlink("/mnt/ts".into()));
    assert_eq!(entries[3].path.to_str(), Some("pg_tblspc/16385"));
    assert_eq!(events[1], TarEvent::Data(Bytes::from_static(b"START WAL LOCATION")));
    assert_eq!(events.iter().filter(|event| **event == TarEvent::EndOfFile).count(), 4);
}

#[test]
fn large_sizes_are_binary() {
    let mut reader = TarReader::new();
    reader.feed(member("big", b'0', "", b"", Some(9 << 30)).into());
    let Some(TarEvent::Entry(entry)) = reader.next().unwrap() else { panic!() };
    assert_eq!(entry.size, 9 << 30);
    assert!(reader.finish().is_err());
}

#[test]
fn what_must_not_be_written_is_refused() {
    for (name, flag, link, content, expected) in [
        ("/etc/passwd", b'0', "", &b""[..], "absolute"),
        ("a/../../b", b'0', "", b"", "absolute"),
        ("..", b'5', "", b"", "absolute"),
        (".", b'5', "", b"", "absolute"),
        ("././", b'5', "", b"", "absolute"),
        ("./../a", b'0', "", b"", "absolute"),
        ("a//b", b'0', "", b"", "absolute"),
        ("a/", b'0', "", b"", "absolute"),
        ("", b'0', "", b"", "absolute"),
        ("/", b'5', "", b"", "absolute"),
        ("a", b'1', "b", b"", "type '1'"),
        ("a", b'x', "", b"", "type 'x'"),
        ("a", b'2', "", b"", "no target"),
        ("a", b'5', "", b"x", "has content"),
    ] {
        let mut bytes = member(name, flag, link, content, None);
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        let error = read(&[&bytes]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Archive);
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = archive();
    for length in 0..bytes.len() {
        assert!(read(&[&bytes[..length]]).is_err(), "{length}");
    }
    let mut longer = bytes.clone();
    longer.resize(longer.len() + 3 * BLOCK, 0);
    assert!(read(&[&longer]).is_ok());
    longer.push(1);
    assert!(read(&[&longer]).is_err());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(mut cuts in prop::collection::vec(0_usize..7000, 0..40)) {
        let bytes = archive();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(read(&pieces).unwrap(), read(&[&bytes]).unwrap());
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0_usize..7000, value: u8, cut in 0_usize..7000) {
        let mut bytes = archive();
        let at = at % bytes.len();
        bytes[at] = value;
        let (one, two) = bytes.split_at(cut % bytes.len());
        let _ = read(&[one, two]);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(&[&bytes]);
    }
}
