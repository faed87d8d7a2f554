//! `target_session_attrs`: whether the server is of the wanted kind.

use super::Mode;
use crate::conninfo::TargetSessionAttrs;
use crate::verbs::query::ResultSet;
use crate::wire::Wire;
use crate::{Error, ErrorKind};

pub(super) async fn check(
    wire: &mut Wire,
    mode: Mode,
    target: TargetSessionAttrs,
) -> Result<(), Error> {
    let (good, not) = match target {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => return Ok(()),
        TargetSessionAttrs::ReadWrite => (!read_only(wire).await?, "session is read-only"),
        TargetSessionAttrs::ReadOnly => (read_only(wire).await?, "session is not read-only"),
        TargetSessionAttrs::Primary => {
            (!in_recovery(wire, mode).await?, "server is in hot standby mode")
        }
        TargetSessionAttrs::Standby => {
            (in_recovery(wire, mode).await?, "server is not in hot standby mode")
        }
    };
    if good {
        return Ok(());
    }
    let message = format!("{}: {not}, and target_session_attrs={target} was asked for", wire.peer);
    Err(Error::new(ErrorKind::Connect, message))
}

/// Servers since 14 report both parameters by themselves; a pooler between may not.
async fn read_only(wire: &mut Wire) -> Result<bool, Error> {
    let reported = |name: &str| wire.parameters.get(name).map(|value| value == "on");
    match (reported("default_transaction_read_only"), reported("in_hot_standby")) {
        (Some(read_only), Some(standby)) => Ok(read_only || standby),
        _ => ask(wire, "SHOW transaction_read_only").await,
    }
}

async fn in_recovery(wire: &mut Wire, mode: Mode) -> Result<bool, Error> {
    match (wire.parameters.get("in_hot_standby"), mode) {
        (Some(value), _) => Ok(value == "on"),
        (None, Mode::Replication) => ask(wire, "SHOW in_hot_standby").await,
        (None, Mode::Sql) => ask(wire, "SELECT pg_catalog.pg_is_in_recovery()").await,
    }
}

async fn ask(wire: &mut Wire, sql: &str) -> Result<bool, Error> {
    let rows = ResultSet::of(wire, sql, "target_session_attrs").await?;
    Ok(matches!(rows.single("target_session_attrs")?, "on" | "t"))
}
