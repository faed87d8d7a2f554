//! What has changed since the base backup.
//!
//! [`Detector::detect`] answers with [`Changes`] that are proven to be complete, or that compare
//! everything.

mod archive;
mod page_lsn;
mod server;
mod truncations;

pub(crate) use server::SINCE as SUMMARIES_SINCE;
pub(crate) use truncations::TruncationReader;

use walbrook_delta::{BaseBackupSpan, ChangeMap, PageLsnFilter, Span};
use walbrook_repo::{BackupRecord, BaseIndex, ChangeFacts, WalArchive};
use walbrook_types::Lsn;
use walbrook_wal::TimelineHistory;

use crate::backup::options::ChangeDetection;
use crate::backup::server::Server;
use crate::{BackupOptions, Error, ErrorKind, Result};

/// Bytes of segments that are read from the server at most, because the archive has not got them.
const LIVE: u64 = 1 << 30;

/// Which pages need not be stored.
pub(crate) enum Changes {
    /// Those that are found equal to the base's when all are read.
    Compare,
    /// Those that a map says are unchanged, which are not even read.
    Map(ChangeMap),
    /// Those whose last change is older than the base.
    PageLsn(PageLsnFilter),
}

/// What is known when a backup has begun.
pub(crate) struct Detector<'a> {
    pub(crate) options: &'a BackupOptions,
    pub(crate) server: &'a Server,
    pub(crate) archive: &'a WalArchive,
    pub(crate) base: &'a BaseIndex,
    /// Where this backup starts, on the history's timeline or an ancestor of it.
    pub(crate) start: Lsn,
    pub(crate) history: &'a TimelineHistory,
}

impl Detector<'_> {
    /// Decides what counts as changed, and says how and why. What can't be proven to be complete is
    /// passed over for the next way, or is an error when it was asked for by name.
    pub(crate) async fn detect(&self) -> Result<(Changes, ChangeFacts)> {
        let forced = self.options.changes;
        if forced != ChangeDetection::Auto {
            return match self.attempt(forced, LIVE).await {
                Ok(changes) => Ok((changes, facts(forced, "it was asked for".to_owned()))),
                Err(error) => {
                    let message = format!(
                        "--changes {} will not do: {error}; --changes auto finds a way that does",
                        forced.name()
                    );
                    Err(Error::new(ErrorKind::Invalid, message).with_source(error))
                }
            };
        }
        let mut passed_over = Vec::new();
        // Reading WAL from the server must be worth it: what it saves is reading the base's files.
        let live = LIVE.min(self.base.record().size.database_bytes / 2);
        for way in [ChangeDetection::WalSummaries, ChangeDetection::Sum] {
            match self.attempt(way, live).await {
                Ok(changes) => return Ok((changes, facts(way, because(&passed_over)))),
                Err(error) => passed_over.push(format!("{} will not do: {error}", way.name())),
            }
        }
        let reason = because(&passed_over);
        Ok((Changes::Compare, facts(ChangeDetection::Hash, reason)))
    }

    /// Tries one way; `live` is how many bytes of WAL may be read from the server for it.
    async fn attempt(&self, way: ChangeDetection, live: u64) -> Result<Changes> {
        if way == ChangeDetection::Hash {
            return Ok(Changes::Compare);
        }
        let span = self.span()?;
        Ok(match way {
            ChangeDetection::WalSummaries => {
                Changes::Map(server::map(&self.options.server, self.server, span).await?)
            }
            ChangeDetection::Sum => Changes::Map(self.map_of_archive(span, live).await?),
            ChangeDetection::PageLsn => Changes::PageLsn(self.page_lsn(&span).await?),
            ChangeDetection::Auto | ChangeDetection::Hash => Changes::Compare,
        })
    }

    /// The log between base and backup, if what is not in it can be taken from the base at all.
    pub(super) fn span(&self) -> Result<Span> {
        let base: &BackupRecord = self.base.record();
        let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, why));
        if base.server.data_checksums != self.server.facts.data_checksums {
            return refused(
                "data checksums were switched on or off since the base, which changes every page \
                 past the log",
            );
        }
        if base.damage.pages > base.damage.listed.len() as u64 {
            return refused("the base has more damaged pages than it lists");
        }
        let place = BaseBackupSpan {
            timeline: base.span.timeline,
            start: base.span.start_lsn,
            stop: base.span.stop_lsn,
        };
        Span::new(place, self.start, self.history).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the base does not lead here: {error}"))
        })
    }
}

/// Why the first way that would do was the one.
fn because(passed_over: &[String]) -> String {
    match passed_over {
        [] => "it is the first choice".to_owned(),
        _ => passed_over.join("; "),
    }
}

pub(super) fn facts(way: ChangeDetection, reason: String) -> ChangeFacts {
    ChangeFacts { by: way.name().to_owned(), reason }
}

/// What `walbrook-delta` refuses.
fn unknown(error: walbrook_delta::Error) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string()).with_source(error)
}
