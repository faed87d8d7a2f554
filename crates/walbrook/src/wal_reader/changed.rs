use walbrook_wal::{BlockSummary, BlockSummaryBuilder};

use super::reader::WalReader;
use crate::{Error, ErrorKind, Result};

/// Which blocks the records of a reader's range change, by relation and fork, with the blocks from
/// which on a fork was truncated or is new.
///
/// Memory goes with the blocks that changed: a few bits for each, at most.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) for WAL of `wal_level=minimal`, which does not tell all changes;
/// and those of [`WalReader::next`].
pub async fn changed_blocks(reader: &mut WalReader) -> Result<BlockSummary> {
    let mut builder = BlockSummaryBuilder::new();
    while let Some(record) = reader.next().await? {
        builder.record(&record).map_err(|error| match error.kind() {
            crate::wal::ErrorKind::IncompleteSummary => {
                let message = format!("changes can't be told from this WAL: {error}");
                Error::new(ErrorKind::Invalid, message).with_source(error)
            }
            _ => super::garbled(error),
        })?;
    }
    Ok(builder.finish())
}
