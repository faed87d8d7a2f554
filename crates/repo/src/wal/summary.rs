use bytes::Bytes;
use walbrook_store::{ErrorKind as StoreErrorKind, Payload};
use walbrook_types::WalFileName;
use walbrook_wal::WalSummary;

use crate::frame::{self, Kind};
use crate::wal::WalArchive;
use crate::wal::encode::encode_summary;
use crate::{Error, Result, layout};

impl WalArchive {
    fn summary_path(&self, name: &WalFileName) -> String {
        layout::wal_summary(self.cluster().name(), self.system(), name)
    }

    /// Stores a segment's block summary. The segment is durable already, and its summary can be made
    /// of it again: trouble is no reason to tell a server that its WAL was not archived.
    pub(super) async fn put_summary(&self, name: &WalFileName, object: Bytes) {
        let path = self.summary_path(name);
        match self.cluster().store().create(&path, Payload::from(object)).await {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
            Err(error) => tracing::warn!(%error, path, "a block summary was not stored"),
        }
    }

    /// The blocks that a segment changes; `None` when the segment is not in the archive.
    ///
    /// What was stored beside the segment is read, without the segment. Where nothing was, or
    /// what was is damaged, the segment itself is read, on up to `workers` threads, and its summary
    /// stored for the next time.
    ///
    /// # Errors
    ///
    /// Trouble with the store, a damaged segment, and WAL that is not understood
    /// ([`Invalid`](crate::ErrorKind::Invalid)).
    pub async fn summary(&self, name: WalFileName, workers: usize) -> Result<Option<WalSummary>> {
        let path = self.summary_path(&name);
        match self.cluster().store().get(&path).await {
            Ok(object) => match decode(&path, &object, self, &name) {
                Ok(summary) => return Ok(Some(summary)),
                Err(error) => tracing::warn!(%error, "made again from its segment"),
            },
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let Some(stored) = self.get(&name).await? else { return Ok(None) };
        let made = tokio::task::spawn_blocking(move || {
            let mut scanner = walbrook_wal::SegmentScanner::new(true).summarize();
            let parts = stored.decode(workers)?;
            let fed = parts.iter().try_for_each(|part| scanner.feed(part));
            let summary = fed.and_then(|()| scanner.finish_with_summary());
            let not_understood = |e| {
                let message = format!("{name} can't be summarized: it is not understood");
                Error::new(crate::ErrorKind::Invalid, message).with_source(e)
            };
            Ok::<_, Error>(summary.map_err(not_understood)?.1)
        });
        let made = made.await??;
        if let Some(summary) = &made {
            self.put_summary(&name, encode_summary(summary)).await;
        }
        Ok(made)
    }
}

/// Reads an object, which must be about the segment whose name it has.
fn decode(
    path: &str,
    object: &[u8],
    archive: &WalArchive,
    name: &WalFileName,
) -> Result<WalSummary> {
    let damaged = |what: String| Error::corrupt(path, what);
    let (encoded, len) = frame::decode(object, Kind::WalSummary, None).map_err(|e| e.at(path))?;
    if len != object.len() {
        return Err(damaged("something follows its frame".to_owned()));
    }
    let summary = WalSummary::decode(&encoded).map_err(|e| damaged(e.to_string()))?;
    let start =
        name.segment_number(archive.segment_size()).map(|n| n.start(archive.segment_size()));
    let same = summary.system_id == archive.system()
        && summary.segment_size == archive.segment_size()
        && Some(summary.start) == start
        && summary.segments() <= 1
        && summary.timeline <= name.timeline();
    match same {
        true => Ok(summary),
        false => Err(damaged(format!("it is not the summary of {name}"))),
    }
}
