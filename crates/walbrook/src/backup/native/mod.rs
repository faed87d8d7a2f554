//! The server's own incremental backup, PostgreSQL 17 and later: `UPLOAD_MANIFEST`, then `BASE_BACKUP`
//! with `INCREMENTAL`.
//!
//! The server is told of a [`Prior`] backup, the base, and sends of each relation file that it knows the
//! blocks that its WAL summaries name; a [`Fold`] makes the complete file of them and the base at once.
//! What the server would get wrong, the prior does not have, and so it comes whole: see [`Prior`].

mod fold;
mod prior;

pub(crate) use fold::{Fold, Folded, folded_path, without_incremental_lines};
pub(crate) use prior::Prior;

use walbrook_delta::{Span, Truncations};
use walbrook_replication::{BaseBackup, Session};
use walbrook_repo::{BaseIndex, ChangeFacts};
use walbrook_types::Lsn;
use walbrook_wal::TimelineHistory;

use crate::backup::changes::{Detector, SUMMARIES_SINCE, TruncationReader, facts};
use crate::backup::server::Server;
use crate::backup::{ChangeDetection, Run};
use crate::{Error, ErrorKind, Result};

/// How often the backup is begun: anew when relations were truncated since the manifest was sent.
const ATTEMPTS: u32 = 4;

/// A base backup that the server has begun.
pub(super) struct Begun {
    pub(super) backup: BaseBackup,
    /// What it is incremental to.
    pub(super) prior: Option<Prior>,
    pub(super) changes: Option<ChangeFacts>,
}

/// What an attempt needs.
struct Ready {
    reader: TruncationReader,
    /// What was truncated, as far as the server has summaries.
    truncated: Truncations,
}

impl Run<'_> {
    /// Begins the base backup: an incremental one where there is a base, and nothing against it.
    pub(super) async fn begin_base_backup(
        &self,
        mut session: Session,
        base: Option<&BaseIndex>,
        history: &TimelineHistory,
    ) -> Result<Begun> {
        let Some(base) = base else { return self.begin_whole(session, None).await };
        let by_summaries = ChangeDetection::WalSummaries;
        let forced = match self.options.changes {
            ChangeDetection::Hash => {
                return self.begin_whole(session, Some("it was asked for".to_owned())).await;
            }
            changes => changes == by_summaries,
        };
        let native = Native { run: self, base, history };
        let error = match native.prepare(&mut session).await {
            Ok(ready) => match native.begin(session, ready).await {
                Ok((backup, prior)) => {
                    let reason = match forced {
                        true => "it was asked for",
                        false => "the server keeps WAL summaries, and sends what changed",
                    };
                    let changes = Some(facts(by_summaries, reason.to_owned()));
                    return Ok(Begun { backup, prior: Some(prior), changes });
                }
                Err(error) if forced => error,
                Err(error) => {
                    self.progress.warn(&format!(
                        "copying every page, for the server could not send what changed: {error}"
                    ));
                    session = self.connect_again().await?;
                    let reason = format!("{} will not do: {error}", by_summaries.name());
                    return self.begin_whole(session, Some(reason)).await;
                }
            },
            Err(error) if forced => error,
            // As most servers are set up; no reason to worry anybody.
            Err(error) => {
                let reason = format!("{} will not do: {error}", by_summaries.name());
                return self.begin_whole(session, Some(reason)).await;
            }
        };
        let message = format!(
            "--changes {} will not do: {error}; --changes auto finds a way that does",
            by_summaries.name()
        );
        Err(Error::new(ErrorKind::Invalid, message).with_source(error))
    }

    /// Every page comes; the writer compares each with the base's.
    async fn begin_whole(&self, session: Session, reason: Option<String>) -> Result<Begun> {
        let backup = session.base_backup(&self.protocol_options()).await?;
        let changes = reason.map(|reason| facts(ChangeDetection::Hash, reason));
        Ok(Begun { backup, prior: None, changes })
    }

    /// Another session for the backup, with the same server.
    async fn connect_again(&self) -> Result<Session> {
        let (session, server) = Server::connect(&self.options.server).await?;
        if server.facts.system_identifier != self.server.facts.system_identifier
            || server.timeline != self.server.timeline
            || server.flushed < self.server.flushed
        {
            let message = format!(
                "another connection of the same backup reached another server, at {}: name one \
                 server",
                session.peer()
            );
            return Err(Error::new(ErrorKind::ServerChanged, message));
        }
        Ok(session)
    }
}

/// An incremental backup that is being begun.
struct Native<'a> {
    run: &'a Run<'a>,
    base: &'a BaseIndex,
    history: &'a TimelineHistory,
}

impl Native<'_> {
    /// The log between the base and a backup that starts there.
    fn span(&self, start: Lsn) -> Result<Span> {
        let Run { options, server, archive, .. } = self.run;
        let (base, history) = (self.base, self.history);
        Detector { options, server, archive, base, start, history }.span()
    }

    /// Finds out what stands against it before the server does anything.
    async fn prepare(&self, session: &mut Session) -> Result<Ready> {
        let server = &self.run.server;
        let has_setting = server.facts.pg_version.major() >= SUMMARIES_SINCE;
        if has_setting && session.show("summarize_wal").await? != "on" {
            let message = "the server makes no WAL summaries: summarize_wal is off";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut reader = TruncationReader::connect(&self.run.options.server, server).await?;
        // It will start past here, or at a checkpoint a little before on a standby.
        let so_far = self.span(server.flushed.max(self.base.record().span.stop_lsn))?;
        let truncated = reader.read(&so_far).await?.so_far().clone();
        Ok(Ready { reader, truncated })
    }

    /// Begins the backup, so often that the server was told of no relation that was truncated until it
    /// starts.
    async fn begin(&self, session: Session, ready: Ready) -> Result<(BaseBackup, Prior)> {
        let Ready { mut reader, mut truncated } = ready;
        let options = self.run.protocol_options().incremental(true);
        let mut session = Some(session);
        for _ in 0..ATTEMPTS {
            let mut connected = match session.take() {
                Some(session) => session,
                None => self.run.connect_again().await?,
            };
            let prior = Prior::new(self.base.clone(), truncated);
            prior.upload(&mut connected).await?;
            let backup = connected.base_backup(&options).await?;
            let (start, timeline) = backup.start();
            if timeline != self.run.server.timeline {
                let message = format!("the server was promoted to timeline {timeline}");
                return Err(Error::new(ErrorKind::ServerChanged, message));
            }
            // The server has waited for its summaries of all that led here.
            let found = reader.read(&self.span(start)?).await?.finish().map_err(|error| {
                Error::new(ErrorKind::Invalid, error.to_string()).with_source(error)
            })?;
            if found.is_subset(prior.truncated()) {
                return Ok((backup, prior));
            }
            tracing::debug!("relations were truncated since the manifest was made");
            truncated = found;
        }
        let message = "tables were truncated again and again while the backup began";
        Err(Error::new(ErrorKind::ServerChanged, message))
    }
}
