//! Block summaries, Walbrook's own and PostgreSQL's: what is read can be written and read again, and
//! merging what claims to follow it does no harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walbrook_wal::{BlockSummary, PgSummary, PgSummaryName, WalSummary};

fuzz_target!(|bytes: &[u8]| {
    // Both kinds end with a CRC of all before it, which is made right, or nothing would be reached.
    let Some((content, _)) = bytes.split_last_chunk::<4>() else { return };
    let bytes = &[content, &crc32c::crc32c(content).to_le_bytes()].concat()[..];
    if let Ok(summary) = WalSummary::decode(bytes) {
        assert_eq!(WalSummary::decode(&summary.encode()).as_ref(), Ok(&summary));
        let _ = summary.proven(summary.start, summary.end);
        let mut next = summary.clone();
        next.start = summary.end;
        let mut merged = summary.clone();
        if merged.merge(&next).is_err() {
            assert_eq!(merged, summary);
        }
        look(&summary.blocks);
    }
    if let Ok(summary) = PgSummary::read(bytes) {
        assert_eq!(PgSummary::read(&PgSummary::write(&summary)).as_ref(), Ok(&summary));
        look(&summary);
    }
    if let Ok(text) = std::str::from_utf8(content)
        && let Ok(name) = text.parse::<PgSummaryName>()
    {
        assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    }
});

fn look(blocks: &BlockSummary) {
    for (relation, fork, changes) in blocks.iter() {
        if let Some(limit) = changes.limit_block {
            assert!(changes.is_changed(limit));
            assert!(blocks.is_changed(relation, fork, limit));
        }
        assert_eq!(changes.blocks.iter().count() as u64, changes.blocks.len());
        let mut twice = blocks.clone();
        twice.merge(blocks);
    }
}
