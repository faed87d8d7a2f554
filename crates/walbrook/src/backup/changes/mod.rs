//! What has changed since the base backup.
//!
//! [`Detector::detect`] answers with [`Changes`] that are proven to be complete, or that compare
//! everything.

mod archive;
mod page_lsn;
mod server;

use walbrook_delta::{BaseBackupSpan, ChangeMap, PageLsnFilter, Span};
use walbrook_repo::{BackupRecord, BaseIndex, ChangeFacts, WalArchive};
use walbrook_types::Lsn;
use walbrook_wal::TimelineHistory;

use crate::backup::options::ChangeDetection;
use crate::backup::server::Server;
use crate::{BackupOptions, Error, ErrorKind, Result};

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
    /// Decides what counts as changed, and says how and why.
    pub(crate) async fn detect(&self) -> Result<(Changes, ChangeFacts)> {
        let forced = self.options.changes;
        // Maps are asked for by name until the chains of tests/it/incremental hold for each of them: what
        // is read and compared can't be wrong.
        if matches!(forced, ChangeDetection::Auto | ChangeDetection::Hash) {
            let reason = match forced {
                ChangeDetection::Auto => "maps of changes are used only when asked for",
                _ => "it was asked for",
            };
            return Ok((Changes::Compare, facts(ChangeDetection::Hash, reason.to_owned())));
        }
        match self.attempt(forced).await {
            Ok(changes) => Ok((changes, facts(forced, "it was asked for".to_owned()))),
            Err(error) => {
                let message = format!(
                    "--changes {} will not do: {error}; with --changes auto the pages would be \
                     compared instead",
                    forced.name()
                );
                Err(Error::new(ErrorKind::Invalid, message).with_source(error))
            }
        }
    }

    async fn attempt(&self, way: ChangeDetection) -> Result<Changes> {
        let span = self.span()?;
        Ok(match way {
            ChangeDetection::WalSummaries => {
                Changes::Map(server::map(&self.options.server, self.server, span).await?)
            }
            ChangeDetection::Sum => Changes::Map(self.map_of_archive(span).await?),
            ChangeDetection::PageLsn => Changes::PageLsn(self.page_lsn(&span).await?),
            ChangeDetection::Auto | ChangeDetection::Hash => Changes::Compare,
        })
    }

    /// The log between base and backup, if what is not in it can be taken from the base at all.
    fn span(&self) -> Result<Span> {
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

fn facts(way: ChangeDetection, reason: String) -> ChangeFacts {
    ChangeFacts { by: way.name().to_owned(), reason }
}

/// What `walbrook-delta` refuses.
fn unknown(error: walbrook_delta::Error) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string()).with_source(error)
}
