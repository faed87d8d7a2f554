//! Incremental files from nowhere: an answer or an error, never a panic, and the same however they
//! are cut.

use proptest::prelude::*;
use walbrook_delta::{
    ErrorKind, IncrementalDecoder, IncrementalEvent, IncrementalHeader, IncrementalReader,
    IncrementalWriter,
};

type Content = (IncrementalHeader, Vec<(u32, Vec<u8>)>);

fn decode(bytes: &[u8], piece: usize) -> Result<Content, ErrorKind> {
    let mut decoder = IncrementalDecoder::new();
    let (mut header, mut blocks) = (None, Vec::new());
    for mut part in bytes.chunks(piece) {
        while let Some(event) = decoder.next(&mut part).map_err(|error| error.kind())? {
            match event {
                IncrementalEvent::Header(read) => assert!(header.replace(read).is_none()),
                IncrementalEvent::Block(n) => blocks.push((n, decoder.page().unwrap().to_vec())),
            }
        }
        assert!(part.is_empty());
    }
    decoder.finish().map_err(|error| error.kind())?;
    Ok((header.unwrap(), blocks))
}

fn read(bytes: &[u8]) -> Result<Content, ErrorKind> {
    let mut reader = IncrementalReader::new(bytes).map_err(|error| error.kind())?;
    let (mut blocks, mut page) = (Vec::new(), [0; 8192]);
    while let Some(block) = reader.next_block(&mut page).map_err(|error| error.kind())? {
        blocks.push((block, page.to_vec()));
    }
    Ok((reader.header().clone(), blocks))
}

fn write(len: u32, blocks: &[u32]) -> Vec<u8> {
    let header = IncrementalHeader::new(len, blocks.to_vec()).unwrap();
    let mut writer = IncrementalWriter::new(Vec::new(), &header).unwrap();
    for block in blocks {
        writer.write_block(&[*block as u8; 8192]).unwrap();
    }
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, header.file_size());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn pieces_do_not_matter(
        len in 0u32..500,
        blocks in proptest::collection::btree_set(0u32..131_072, 0..12),
        piece in 1usize..20_000,
        cut in 0usize..60_000,
        (at, byte) in (0usize..120, any::<u8>()),
    ) {
        let mut bytes = write(len, &blocks.iter().copied().collect::<Vec<_>>());
        let (header, content) = read(&bytes).unwrap();
        prop_assert_eq!(header.truncation_block_length(), len);
        prop_assert!(content.iter().all(|(block, page)| page[0] == *block as u8));
        prop_assert_eq!(decode(&bytes, piece).unwrap(), (header, content));
        // Too short.
        let short = &bytes[..cut.min(bytes.len() - 1)];
        prop_assert_eq!(read(short).unwrap_err(), ErrorKind::Truncated);
        if !short.is_empty() {
            prop_assert_eq!(decode(short, piece).unwrap_err(), ErrorKind::Truncated);
        }
        // Damaged.
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        prop_assert_eq!(read(&bytes), decode(&bytes, piece));
    }

    #[test]
    fn anything_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let magic: Vec<u8> = [0x0d, 0x1f, 0xae, 0xd3].into_iter().chain(bytes).collect();
        prop_assert_eq!(read(&magic), decode(&magic, 3));
    }
}

#[test]
fn a_block_count_that_lies_takes_no_memory_that_it_has_not() {
    let mut bytes = write(3, &[]);
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&bytes).unwrap_err(), ErrorKind::BadIncremental);
    // More than a file has: what old servers wrote for a truncated relation of several files.
    let mut bytes = write(3, &[]);
    bytes[8..12].copy_from_slice(&200_000u32.to_le_bytes());
    assert_eq!(read(&bytes).unwrap().0.truncation_block_length(), 131_072);
}
