use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Failure, Outcome, Scratch, ensure, fails};
use crate::{ErrorKind, Payload};

pub(super) async fn create_and_read(s: &Scratch) -> Outcome {
    let chunks = vec![Bytes::from("one "), Bytes::new(), Bytes::from("two "), Bytes::from("three")];
    let path = s.create("deep/below/object", chunks).await?;
    let content = s.store.get(&path).await?;
    ensure(content == "one two three", || format!("created of four buffers, read {content:?}"))?;
    // All 256 values: nothing on the way takes it for text.
    let every: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let path = s.create("bytes", every.clone()).await?;
    let content = s.store.get(&path).await?;
    ensure(content == every, || "binary content came back changed".to_owned())
}

pub(super) async fn ranges(s: &Scratch) -> Outcome {
    let path = s.create("object", "0123456789").await?;
    for (range, expected) in
        [(0..10, "0123456789"), (0..1, "0"), (9..10, "9"), (3..7, "3456"), (5..5, ""), (0..0, "")]
    {
        let content = s.store.get_range(&path, range.clone()).await?;
        ensure(content == expected, || {
            format!("the range {range:?} gave {content:?}, not {expected:?}")
        })?;
    }
    for range in [0..11, 9..11, 10..11, 11..12, 20..30, 0..u64::MAX, u64::MAX - 1..u64::MAX] {
        let what = format!("the range {range:?} of 10 bytes");
        fails(s.store.get_range(&path, range).await, ErrorKind::OutOfRange, &what)?;
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let reversed = 7..3;
    fails(s.store.get_range(&path, reversed).await, ErrorKind::OutOfRange, "the range 7..3")
}

pub(super) async fn tails(s: &Scratch) -> Outcome {
    let path = s.create("object", "0123456789").await?;
    for (at_most, expected) in [
        (0, ""),
        (1, "9"),
        (9, "123456789"),
        (10, "0123456789"),
        (11, "0123456789"),
        (1 << 40, "0123456789"),
    ] {
        let (tail, size) = s.store.get_tail(&path, at_most).await?;
        ensure(tail == expected && size == 10, || {
            format!(
                "the tail of {at_most} bytes gave {tail:?} of {size} bytes, not {expected:?} of 10"
            )
        })?;
    }
    Ok(())
}

pub(super) async fn head(s: &Scratch) -> Outcome {
    let path = s.create("folder/object", "12345").await?;
    let meta = s.store.head(&path).await?;
    ensure(meta.path == path && meta.size == 5, || {
        format!("head of {path} (5 bytes) gave {meta:?}")
    })?;
    // Clocks differ, and some services give seconds only.
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    ensure(meta.modified > now - day && meta.modified < now + day, || {
        format!("an object created now has the time {:?}", meta.modified)
    })
}

pub(super) async fn absent(s: &Scratch) -> Outcome {
    s.create("folder/object", "x").await?;
    // A folder is no object, and nor is what has an object where it needs a folder.
    for name in
        ["nothing", "folder", "folder/object/below", "folder/objec", "folder/object2", "a/b/c"]
    {
        let path = s.path(name);
        let is = |what: &str| format!("{what} of {name}, which is no object");
        fails(s.store.get(&path).await, ErrorKind::NotFound, &is("get"))?;
        fails(s.store.get_range(&path, 0..1).await, ErrorKind::NotFound, &is("get_range"))?;
        fails(s.store.get_tail(&path, 1).await, ErrorKind::NotFound, &is("get_tail"))?;
        fails(s.store.head(&path).await, ErrorKind::NotFound, &is("head"))?;
    }
    Ok(())
}

pub(super) async fn empty_object(s: &Scratch) -> Outcome {
    let path = s.create("object", Payload::default()).await?;
    let content = s.store.get(&path).await?;
    let (tail, size) = s.store.get_tail(&path, 8).await?;
    let head = s.store.head(&path).await?;
    ensure(content.is_empty() && tail.is_empty() && size == 0 && head.size == 0, || {
        format!("an empty object has {content:?}, tail {tail:?} of {size}, {head:?}")
    })?;
    fails(
        s.store.get_range(&path, 0..1).await,
        ErrorKind::OutOfRange,
        "a byte of an empty object",
    )?;
    fails(
        s.store.create(&path, "x".into()).await,
        ErrorKind::AlreadyExists,
        "creating what is empty",
    )
}

/// 100 MiB in buffers of unequal size, some very small.
pub(super) async fn large_object(s: &Scratch) -> Outcome {
    const SIZE: u64 = 100 << 20;
    let mut chunks: Vec<Bytes> = Vec::new();
    let (mut at, mut length) = (0, 1);
    while at < SIZE {
        let end = (at + length).min(SIZE);
        chunks.push((at..end).map(byte).collect::<Vec<u8>>().into());
        at = end;
        length = if length > 3 << 20 { 1 } else { length * 3 };
    }
    let path = s.create("object", chunks).await?;
    let size = s.store.head(&path).await?.size;
    ensure(size == SIZE, || format!("an object of {SIZE} bytes has {size}"))?;
    let content = s.store.get(&path).await?;
    ensure(content.len() as u64 == SIZE, || format!("of {SIZE} bytes {} came", content.len()))?;
    if let Some(wrong) = content.iter().zip(0..).position(|(found, at)| *found != byte(at)) {
        return Err(Failure::new(format!("byte {wrong} of {SIZE} is wrong")));
    }
    let middle = s.store.get_range(&path, SIZE / 2..SIZE / 2 + 1000).await?;
    let good = middle.iter().copied().eq((SIZE / 2..SIZE / 2 + 1000).map(byte));
    ensure(good, || "a range from the middle is wrong".to_owned())?;
    let (tail, size) = s.store.get_tail(&path, 1000).await?;
    let good = size == SIZE && tail.iter().copied().eq((SIZE - 1000..SIZE).map(byte));
    ensure(good, || "the tail is wrong".to_owned())
}

/// A byte that tells where it is: exchanged or shifted blocks show.
fn byte(at: u64) -> u8 {
    let mixed = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}
