//! Which of several servers is backed up: [`pick`] settles it before anything else, so that all
//! connections of a backup go to one.

use walbrook_replication::conninfo::{Host, TargetSessionAttrs};
use walbrook_replication::{ConnInfo, Session};
use walbrook_types::Lsn;

use crate::backup::source::session::{in_database, value};
use crate::{BackupOptions, Error, ErrorKind, Progress, Result, Source};

/// A standby that is so many bytes of WAL behind does not keep up.
const FAR_BEHIND: u64 = 1 << 30;

/// The server that is backed up.
pub(crate) struct Picked {
    pub(crate) server: ConnInfo,
    /// Why it is the one that it is, where a standby was asked for.
    pub(crate) reason: Option<String>,
}

/// What a server says of itself.
struct Candidate {
    host: Host,
    is_standby: bool,
    is_paused: bool,
    /// How far it has come: a primary in writing, a standby in replaying.
    lsn: Lsn,
    /// How far a standby has received WAL.
    received: Lsn,
}

/// Picks the server. With one host there is nothing to pick, unless a standby is asked for.
///
/// A standby that keeps up is taken before the primary, and the primary before a standby that does
/// not: its replay is paused, or it has 1 GiB of WAL to go. A backup of such a one is sound, but of an
/// old state, and may stay so day after day. When there is nothing else, it is better than none.
pub(crate) async fn pick(options: &BackupOptions, progress: &dyn Progress) -> Result<Picked> {
    let info = &options.server;
    if !options.from_standby {
        return first(options).await;
    }
    let primary_too = match info.target_session_attrs() {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => true,
        TargetSessionAttrs::Standby | TargetSessionAttrs::ReadOnly => false,
        other => {
            let message = format!(
                "a standby is to be backed up, but target_session_attrs={other} is asked for as well"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    };
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for host in info.hosts() {
        match ask(options, host).await {
            Ok(candidate) => found.push(candidate),
            Err(error) => errors.push((host, error)),
        }
    }
    let written = found.iter().filter(|one| !one.is_standby).map(|one| one.lsn).max();
    let mut why: Vec<String> =
        errors.iter().map(|(host, error)| format!("{host}: {error}")).collect();
    let mut late = None;
    for standby in found.iter().filter(|one| one.is_standby) {
        let Some(fault) = standby.fault(written) else {
            let reason = "it is a standby, as was asked for".to_owned();
            return Ok(Picked {
                server: info.clone().with_host(&standby.host),
                reason: Some(reason),
            });
        };
        why.push(format!("{}: {fault}", standby.host));
        late.get_or_insert(standby);
    }
    let primary = found.iter().find(|one| !one.is_standby && primary_too);
    if why.is_empty() {
        why.push("there is none among the hosts".to_owned());
    }
    let why = why.join("; ");
    let (picked, reason) = match (primary, late) {
        (Some(primary), _) => (primary, format!("the primary, for no standby will do: {why}")),
        (None, Some(late)) => {
            (late, format!("a standby that does not keep up, for nothing else will do: {why}"))
        }
        (None, None) => {
            let kind = errors.first().map_or(ErrorKind::Server, |(_, error)| error.kind());
            let message = format!("no standby will do: {why}");
            return Err(Error::new(kind, message));
        }
    };
    progress.warn(&format!("backing up {}: {reason}", picked.host));
    Ok(Picked { server: info.clone().with_host(&picked.host), reason: Some(reason) })
}

/// The first host that will do, as libpq picks it.
async fn first(options: &BackupOptions) -> Result<Picked> {
    let info = &options.server;
    let server = match info.hosts() {
        [_] => info.clone(),
        hosts => {
            let (session, _) = connect(options, info).await?;
            let host = hosts.iter().find(|host| host.to_string() == session.peer());
            host.map_or_else(|| info.clone(), |host| info.clone().with_host(host))
        }
    };
    Ok(Picked { server, reason: None })
}

/// Connects as the backup is going to.
async fn connect(options: &BackupOptions, info: &ConnInfo) -> Result<(Session, Kind)> {
    if options.source == Source::Replication {
        return Ok((Session::replication(info).await?, Kind::Replication));
    }
    match Session::sql(&in_database(info)).await {
        Ok(session) => Ok((session, Kind::Sql)),
        Err(error) if options.source == Source::Auto => match Session::replication(info).await {
            Ok(session) => Ok((session, Kind::Replication)),
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// What a session understands.
#[derive(PartialEq)]
enum Kind {
    Sql,
    Replication,
}

async fn ask(options: &BackupOptions, host: &Host) -> Result<Candidate> {
    let info = options.server.clone().with_host(host);
    let (mut session, kind) = connect(options, &info).await?;
    let is_standby = session.show("in_hot_standby").await? == "on";
    let mut one = Candidate {
        host: host.clone(),
        is_standby,
        is_paused: false,
        lsn: Lsn(0),
        received: Lsn(0),
    };
    // Only SQL tells how far a standby has replayed.
    if kind == Kind::Replication {
        one.received = session.identify_system().await?.flushed;
        one.lsn = one.received;
        return Ok(one);
    }
    let mut lsn = async |sql| -> Result<Lsn> {
        Ok(value(&mut session, sql).await?.parse().unwrap_or(Lsn(0)))
    };
    if is_standby {
        one.lsn = lsn("SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')").await?;
        one.received = lsn("SELECT coalesce(pg_last_wal_receive_lsn(), '0/0')").await?;
        one.is_paused = value(&mut session, "SELECT pg_is_wal_replay_paused()").await? == "t";
    } else {
        one.lsn = lsn("SELECT pg_current_wal_flush_lsn()").await?;
    }
    Ok(one)
}

impl Candidate {
    /// Why a standby does not keep up with what the primary has `written`; none when it does.
    fn fault(&self, written: Option<Lsn>) -> Option<String> {
        if self.is_paused {
            return Some("its replay is paused (pg_wal_replay_resume() goes on)".to_owned());
        }
        let behind =
            written.unwrap_or(self.received).max(self.received).0.saturating_sub(self.lsn.0);
        (behind >= FAR_BEHIND).then(|| format!("it is {} MB of WAL behind", behind >> 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_does_not_keep_up() {
        let options = ConnInfo::parse("host=/x", &crate::Environment::from_process());
        let host = options.expect("settings").hosts()[0].clone();
        let standby = |lsn, received, is_paused| Candidate {
            host: host.clone(),
            is_standby: true,
            is_paused,
            lsn: Lsn(lsn),
            received: Lsn(received),
        };
        let gib = FAR_BEHIND;
        assert_eq!(standby(gib, gib + 1, false).fault(None), None);
        assert_eq!(standby(gib, gib, false).fault(Some(Lsn(2 * gib - 1))), None);
        // The primary's word may be older than the standby's.
        assert_eq!(standby(gib, gib, false).fault(Some(Lsn(1))), None);
        assert!(standby(gib, gib, true).fault(None).is_some());
        assert!(standby(gib, 2 * gib, false).fault(None).is_some());
        assert!(standby(gib, gib, false).fault(Some(Lsn(2 * gib))).is_some());
    }
}
