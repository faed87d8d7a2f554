//! The block summaries that the archive keeps beside its segments.

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, stream};
use walbrook_delta::{ChangeMap, ChangeMapBuilder, Span};
use walbrook_replication::Session;
use walbrook_types::{SegmentNumber, WalFileName, WalSegmentSize};
use walbrook_wal::{WalSummary, summarize_segment};

use super::{Detector, unknown};
use crate::backup::source::session::{open, read_pieces};
use crate::{Error, ErrorKind, Result};

/// Summaries that are fetched at once.
const AHEAD: usize = 8;

/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

impl Detector<'_> {
    /// The map of the archive's summaries. Segments that the archive lacks, as it always lacks the one
    /// that is being written, are read from the server: up to `live` bytes.
    pub(super) async fn map_of_archive(&self, span: Span, live: u64) -> Result<ChangeMap> {
        let mut builder = ChangeMapBuilder::new(span);
        let (from, to) = (builder.span().from(), builder.span().to());
        if from < to {
            let size = self.archive.segment_size();
            let (first, last) = (size.segment_of(from), size.segment_before(to));
            let mut merged: Option<WalSummary> = None;
            let mut live = Live { detector: self, session: None, left: live };
            // The segment in which a timeline ends is gone on with on the next one.
            let name = |number: SegmentNumber| {
                let timeline = self.history.timeline_of(number.end(size).min(to) - 1);
                WalFileName::segment(timeline, number, size)
            };
            let mut archived = stream::iter((first.0..=last.0).map(SegmentNumber))
                .map(|number| async move {
                    let summary = self.archive.summary(name(number), self.options.jobs).await;
                    (number, summary)
                })
                .buffered(AHEAD);
            while let Some((number, summary)) = archived.next().await {
                let name = name(number);
                let summary = match summary? {
                    Some(summary) => summary,
                    None => live.summary(name, size).await?,
                };
                if summary.start != number.start(size)
                    || summary.system_id != self.server.facts.system_identifier
                {
                    let message = format!("{name} holds other WAL than its name says");
                    return Err(Error::new(ErrorKind::ServerChanged, message));
                }
                match &mut merged {
                    Some(merged) => merged.merge(&summary).map_err(not_proven)?,
                    None => merged = Some(summary),
                }
            }
            let merged = merged.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("no WAL from {from} to {to}"))
            })?;
            builder.whole_span(merged.proven(from, to).map_err(not_proven)?);
        }
        builder.finish().map_err(unknown)
    }
}

fn not_proven(error: walbrook_wal::Error) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string()).with_source(error)
}

/// Segments that are in the server's `pg_wal`.
struct Live<'a> {
    detector: &'a Detector<'a>,
    session: Option<Session>,
    left: u64,
}

impl Live<'_> {
    async fn summary(&mut self, name: WalFileName, size: WalSegmentSize) -> Result<WalSummary> {
        let missing = |why: &str| {
            Error::new(ErrorKind::NotFound, format!("{name} is not in the repository, and {why}"))
        };
        self.left = self.left.checked_sub(size.bytes()).ok_or_else(|| {
            missing("more of the log is not than is read from the server for this")
        })?;
        let path = format!("pg_wal/{name}");
        let content = match &self.detector.options.data_directory {
            Some(directory) => read_local(directory, &path).await?,
            None => self.read(&path, size).await?,
        };
        let content = content.ok_or_else(|| missing("the server has removed it"))?;
        // Behind what is written so far lies what a recycled file held before: CRCs tell.
        tokio::task::spawn_blocking(move || summarize_segment(&content, true))
            .await?
            .map_err(not_proven)
    }

    async fn read(&mut self, path: &str, size: WalSegmentSize) -> Result<Option<Bytes>> {
        if self.session.is_none() {
            self.session = Some(open(&self.detector.options.server).await?.0);
        }
        let Some(session) = &mut self.session else { return Ok(None) };
        let mut content = Vec::new();
        for offset in (0..size.bytes()).step_by(PIECE as usize) {
            let len = (size.bytes() - offset).min(PIECE) as u32;
            let mut read = read_pieces(session, &[(path, offset, len)]).await?;
            let Some(piece) = read.pop().flatten() else { return Ok(None) };
            content.extend_from_slice(&piece);
        }
        Ok(Some(Bytes::from(content)))
    }
}

async fn read_local(directory: &Path, path: &str) -> Result<Option<Bytes>> {
    let path = directory.join(path);
    tokio::task::spawn_blocking(move || match std::fs::read(&path) {
        Ok(content) => Ok(Some(Bytes::from(content))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("{} can't be read", path.display()), error)),
    })
    .await?
}
