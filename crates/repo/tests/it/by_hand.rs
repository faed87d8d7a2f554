//! A reader of the format that shares no code with the crate: everything by the offsets that
//! `docs/format.md` gives.

use std::collections::BTreeMap;

/// One frame: its content, and what follows it.
pub(crate) struct Frame<'a> {
    pub(crate) codec: u8,
    pub(crate) kind: u8,
    pub(crate) digest: [u8; 32],
    pub(crate) content: Vec<u8>,
    pub(crate) rest: &'a [u8],
}

fn word(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().unwrap()) as usize
}

pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    assert_eq!(&bytes[0..4], b"WBF1");
    let (codec, encryption, kind, flags) = (bytes[4], bytes[5], bytes[6], bytes[7]);
    assert_eq!((encryption, flags), (0, 0));
    let raw_len = word(&bytes[8..12]);
    let payload_len = word(&bytes[12..16]);
    let digest: [u8; 32] = bytes[16..48].try_into().unwrap();
    let payload = &bytes[48..48 + payload_len];
    assert_eq!(*blake3::hash(&[&bytes[..16], payload].concat()).as_bytes(), digest);
    let content = match codec {
        0 => payload.to_vec(),
        1 => zstd::bulk::decompress(payload, raw_len).unwrap(),
        2 => lz4_flex::block::decompress(payload, raw_len).unwrap(),
        other => panic!("codec {other}"),
    };
    assert_eq!(content.len(), raw_len);
    Frame { codec, kind, digest, content, rest: &bytes[48 + payload_len..] }
}

/// Numbers, strings and bytes, one after the other.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    pub(crate) fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    pub(crate) fn signed(&mut self) -> i64 {
        let number = self.number();
        if number & 1 == 0 { (number / 2) as i64 } else { -((number / 2) as i64) - 1 }
    }

    pub(crate) fn text(&mut self) -> String {
        let len = self.number() as usize;
        String::from_utf8(self.take(len).to_vec()).unwrap()
    }
}

/// The text of a sealed document.
pub(crate) fn document(bytes: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(bytes).unwrap();
    let body = text.strip_prefix("{\"body\":").unwrap();
    let (body, seal) = body.split_at(body.len() - 64 - 14);
    let digest = seal.strip_prefix(",\"blake3\":\"").unwrap().strip_suffix("\"}\n").unwrap();
    assert_eq!(blake3::hash(body.as_bytes()).to_hex().as_str(), digest);
    let whole: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(whole["body"], serde_json::from_str::<serde_json::Value>(body).unwrap());
    whole["body"].clone()
}

/// The frame before a trailer of 12 bytes, and where it begins.
pub(crate) fn last_frame<'a>(object: &'a [u8], magic: &[u8; 8]) -> (usize, Frame<'a>) {
    let (body, trailer) = object.split_at(object.len() - 12);
    assert_eq!(&trailer[4..], magic);
    let begin = body.len() - word(&trailer[..4]);
    let frame = frame(&body[begin..]);
    assert!(frame.rest.is_empty());
    (begin, frame)
}

/// A backup's files by path, read from its objects: `get` gives the object at a path below the
/// cluster's folder.
pub(crate) fn backup<'a>(id: &str, get: impl Fn(&str) -> &'a [u8]) -> BTreeMap<String, Vec<u8>> {
    let record = document(get(&format!("backups/{id}/backup.json")));
    assert_eq!(record["format"], "walbrook-backup");
    assert_eq!(record["version"], 1);
    let mut files = BTreeMap::new();
    for shard in record["manifest"].as_array().unwrap() {
        let bytes = get(&format!("backups/{id}/manifest-{:05}", shard["number"].as_u64().unwrap()));
        assert_eq!(bytes.len() as u64, shard["size"].as_u64().unwrap());
        assert_eq!(blake3::hash(bytes).to_hex().as_str(), shard["blake3"].as_str().unwrap());
        let tables = frame(bytes);
        let entries = frame(tables.rest);
        assert_eq!((tables.kind, entries.kind), (3, 4));
        assert!(entries.rest.is_empty());
        let frames = read_tables(&tables.content, &get);
        read_entries(&entries.content, &frames, &mut files);
    }
    files
}

/// The content of each frame of a shard's table.
fn read_tables<'a>(table: &[u8], get: &impl Fn(&str) -> &'a [u8]) -> Vec<Vec<u8>> {
    let mut cursor = Cursor(table);
    assert_eq!(cursor.take(1), [1]);
    let packs: Vec<&[u8]> = (0..cursor.number())
        .map(|_| {
            let (backup, number) = (cursor.text(), cursor.number());
            get(&format!("backups/{backup}/pack-{number:07}"))
        })
        .collect();
    let frames = (0..cursor.number())
        .map(|_| {
            let pack = packs[cursor.number() as usize];
            let (offset, stored_len) = (cursor.number() as usize, cursor.number() as usize);
            let raw_len = cursor.number() as usize;
            let frame = frame(&pack[offset..offset + stored_len]);
            assert!(frame.rest.is_empty());
            assert_eq!((frame.kind, frame.content.len()), (1, raw_len));
            assert_eq!(frame.digest, cursor.take(32));
            frame.content
        })
        .collect();
    assert!(cursor.0.is_empty());
    frames
}

fn read_entries(table: &[u8], frames: &[Vec<u8>], files: &mut BTreeMap<String, Vec<u8>>) {
    let mut cursor = Cursor(table);
    assert_eq!(cursor.take(1), [1]);
    let mut path = String::new();
    let mut frame = 0_i64;
    for _ in 0..cursor.number() {
        path.truncate(cursor.number() as usize);
        path.push_str(&cursor.text());
        let tag = cursor.take(1)[0];
        let _mode = cursor.number();
        let _mtime = cursor.signed();
        let content = match tag {
            0 | 1 => {
                let crc = (tag == 1).then(|| word(cursor.take(4)) as u32);
                let size = cursor.number() as usize;
                let mut content = Vec::new();
                // Frame, end in it and end in the file, the one used last in front.
                let mut recent: Vec<(i64, usize, usize)> = Vec::new();
                for _ in 0..cursor.number() {
                    let number = cursor.number();
                    let unit = if number & 4 == 0 { 1 } else { 8192 };
                    let len = (number >> 3) as usize * unit;
                    let at = content.len();
                    let offset = match number & 3 {
                        0 => {
                            frame += cursor.signed();
                            cursor.number() as usize * unit
                        }
                        1 => {
                            content.resize(at + len, 0);
                            continue;
                        }
                        kind => {
                            let (used, frame_end, file_end) = recent[cursor.number() as usize];
                            frame = used;
                            if kind == 2 {
                                (frame_end as i64 + cursor.signed() * unit as i64) as usize
                            } else {
                                frame_end + (at - file_end)
                            }
                        }
                    };
                    content.extend(&frames[frame as usize][offset..offset + len]);
                    recent.retain(|(used, ..)| *used != frame);
                    recent.insert(0, (frame, offset + len, at + len));
                    recent.truncate(64);
                }
                assert_eq!(content.len(), size);
                assert!(crc.is_none_or(|crc| crc == crc32c::crc32c(&content)), "{path}");
                content
            }
            2 => b"directory".to_vec(),
            3 => format!("-> {}", cursor.text()).into_bytes(),
            other => panic!("tag {other}"),
        };
        files.insert(path.clone(), content);
    }
    assert!(cursor.0.is_empty());
}
