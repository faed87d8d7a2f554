use walbrook_replication::Session;
use walbrook_types::TimelineId;
use walbrook_wal::TimelineHistory;

use crate::backup::parse_history;
use crate::backup::server::Server;
use crate::backup::source::{LocalSource, PageSource, SqlSource};
use crate::{BackupOptions, ChangeDetection, Error, ErrorKind, Progress, Result, Source};

/// The source of a backup, connected.
pub(crate) struct Chosen {
    pub(crate) source: Connected,
    pub(crate) server: Server,
    /// Why it is this one.
    pub(crate) reason: String,
}

pub(crate) enum Connected {
    Replication(Session),
    Sql(Box<SqlSource>),
    Local(Box<LocalSource>),
}

impl Connected {
    /// Refuses a way to find changes that the source has no use for.
    pub(crate) fn can_detect(&self, changes: ChangeDetection) -> Result<()> {
        let sends_whole = matches!(changes, ChangeDetection::Sum | ChangeDetection::PageLsn);
        if !sends_whole || !matches!(self, Self::Replication(_)) {
            return Ok(());
        }
        let message = format!(
            "--changes {} needs --source sql or local: over the replication protocol the server \
             decides what it sends",
            changes.name()
        );
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// Where the server's timeline comes from.
    pub(crate) async fn history(&mut self, timeline: TimelineId) -> Result<TimelineHistory> {
        let file = match self {
            _ if timeline == TimelineId::FIRST => None,
            Self::Replication(session) => {
                Some(session.timeline_history(timeline).await?.content.to_vec())
            }
            Self::Sql(source) => source.timeline_history(timeline).await?,
            Self::Local(source) => source.timeline_history(timeline).await?,
        };
        parse_history(timeline, file.as_deref())
    }

    /// As the backup's record names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Replication(_) => "replication",
            Self::Sql(_) => "sql",
            Self::Local(_) => "local",
        }
    }
}

/// Connects as the options say. `Auto` tries SQL, and says why when that will not do.
pub(crate) async fn choose(options: &BackupOptions, progress: &dyn Progress) -> Result<Chosen> {
    const ASKED: &str = "it was asked for";
    match (options.source, &options.data_directory) {
        (Source::Auto, Some(_)) => local(options, "the data directory was given").await,
        (Source::Local, _) => local(options, ASKED).await,
        (_, Some(_)) => {
            let message = "a data directory is of use to --source local only";
            Err(Error::new(ErrorKind::Invalid, message))
        }
        (Source::Sql, None) => sql(options, ASKED).await,
        (Source::Replication, None) => replication(options, ASKED).await,
        (Source::Auto, None) => match sql(options, "the role may read files by SQL").await {
            Ok(chosen) => Ok(chosen),
            Err(refused) => {
                let reason = format!("reading by SQL will not do: {refused}");
                match replication(options, &reason).await {
                    Ok(chosen) => {
                        progress.warn(&format!(
                            "copying over the replication protocol, in one stream, for {reason}"
                        ));
                        Ok(chosen)
                    }
                    Err(error) => Err(neither(error, &refused)),
                }
            }
        },
    }
}

/// The error of the last resort, and why it was that.
fn neither(error: Error, refused: &Error) -> Error {
    let (error_text, refused) = (error.to_string(), refused.to_string());
    if error_text == refused {
        return error;
    }
    let message = format!("{error_text}; nor will reading by SQL do: {refused}");
    Error::new(error.kind(), message).with_source(error)
}

async fn sql(options: &BackupOptions, reason: &str) -> Result<Chosen> {
    let mut source = SqlSource::connect(&options.server, options.jobs).await?;
    let server = source.server().await?;
    Ok(Chosen { source: Connected::Sql(Box::new(source)), server, reason: reason.to_owned() })
}

async fn local(options: &BackupOptions, reason: &str) -> Result<Chosen> {
    let Some(directory) = &options.data_directory else {
        let message = "--source local needs --pgdata, the data directory on this machine";
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    let mut source = LocalSource::connect(&options.server, directory, options.jobs).await?;
    let server = source.server().await?;
    Ok(Chosen { source: Connected::Local(Box::new(source)), server, reason: reason.to_owned() })
}

async fn replication(options: &BackupOptions, reason: &str) -> Result<Chosen> {
    let (session, server) = Server::connect(&options.server).await?;
    Ok(Chosen { source: Connected::Replication(session), server, reason: reason.to_owned() })
}
