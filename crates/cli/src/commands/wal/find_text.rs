//! What `find` found, for people and for programs, and the command that undoes it.

use serde_json::{Value, json};
use walbrook::types::TimelineId;
use walbrook::wal_reader::{
    Found, RelationChanges, Restorable, RowCounts, TransactionChanges, relation_text,
};

use crate::config::Settings;
use crate::failure::{Failure, Result};
use crate::format::exact_time;
use crate::quoting::word;

/// Makes the commands that restore to just before a transaction.
pub(super) struct Commands<'a> {
    base: Vec<String>,
    timeline: Option<TimelineId>,
    restorable: Option<&'a Restorable>,
}

impl<'a> Commands<'a> {
    pub(super) fn new(
        settings: Option<&Settings>,
        pgdata: &str,
        timeline: TimelineId,
        restorable: Option<&'a Restorable>,
    ) -> Result<Self> {
        let mut base = vec!["walbrook-restore".to_owned()];
        match settings {
            Some(settings) => {
                let repository = settings.repository.without_secrets().to_string();
                base.extend(["--repo".to_owned(), repository]);
                base.extend(["--cluster".to_owned(), settings.cluster().to_owned()]);
                if let Some(file) = settings.file_for_others() {
                    let file = file.to_str().ok_or_else(|| {
                        Failure::usage_text(format!("the path {} is not UTF-8", file.display()))
                    })?;
                    base.extend(["--config".to_owned(), file.to_owned()]);
                }
            }
            None => base.extend(["--repo", "URL", "--cluster", "NAME"].map(str::to_owned)),
        }
        base.extend(["--pgdata".to_owned(), pgdata.to_owned()]);
        // The newest is what a restore follows by itself, until there is a newer one.
        let several = restorable.is_some_and(Restorable::has_several_timelines);
        Ok(Self { base, timeline: several.then_some(timeline), restorable })
    }

    fn line(&self, flag: &str, value: &str) -> String {
        let mut words = self.base.clone();
        words.extend([flag, value, "--target-exclusive"].map(str::to_owned));
        if let Some(timeline) = self.timeline {
            words.extend(["--target-timeline".to_owned(), timeline.to_string()]);
        }
        // For the shell alone, where % is a character like others.
        let quoted = words.iter().map(|text| match word(text) {
            Some(word) => word.replace("%%", "%"),
            None => text.clone(),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    fn by_xid(&self, transaction: &TransactionChanges) -> String {
        self.line("--target-xid", &transaction.xid.to_string())
    }

    fn by_lsn(&self, transaction: &TransactionChanges) -> String {
        self.line("--target-lsn", &transaction.lsn.to_string())
    }

    /// Whether it is known that no backup leads there.
    pub(super) fn is_out_of_reach(&self, transaction: &TransactionChanges) -> bool {
        self.restorable.is_some_and(|known| known.backup_for(transaction.lsn).is_none())
    }
}

pub(super) fn text(found: &Found, aborted: bool, commands: &Commands<'_>) -> String {
    let what = if aborted { "transaction" } else { "committed transaction" };
    let plural = if found.matched == 1 { "" } else { "s" };
    let mut out = format!("{} {what}{plural} from {} to {}", found.matched, found.from, found.to);
    let shown = found.transactions.len();
    out += &if (shown as u64) < found.matched { format!(", {shown} shown\n") } else { "\n".into() };
    for transaction in &found.transactions {
        out.push('\n');
        out += &transaction_text(transaction);
    }
    if found.transactions.iter().any(|transaction| !transaction.complete) {
        out += "\n* may have begun before the WAL that was read: see --lead-in\n";
    }
    // Nothing has to be undone of one that aborted.
    if let Some(first) = found.transactions.iter().find(|transaction| transaction.committed) {
        out += &format!(
            "\nTo restore the cluster to just before transaction {} committed:\n  {}\n\
             or by its position, which no other transaction shares:\n  {}\n",
            first.xid,
            commands.by_xid(first),
            commands.by_lsn(first)
        );
        if first.truncated() + first.dropped() > 0 {
            out += "What it truncated or dropped is locked there, until pg_wal_replay_resume() makes \
                    the restored server\na primary; --target-action promote does so at once.\n";
        }
        if shown > 1 {
            out += "For another one: its ID or LSN instead, or find --xid.\n";
        }
    }
    out
}

fn transaction_text(transaction: &TransactionChanges) -> String {
    let ended = if transaction.committed { "committed" } else { "aborted" };
    let star = if transaction.complete { "" } else { " *" };
    let mut out = format!(
        "Transaction {} {ended} {} at {}, timeline {}{star}\n",
        transaction.xid,
        exact_time(transaction.time),
        transaction.lsn,
        transaction.timeline
    );
    if transaction.prepared {
        let gid = transaction.gid.as_deref().map(|gid| format!(" as {:?}", printable(gid)));
        out += &format!("  prepared{}\n", gid.unwrap_or_default());
    }
    match transaction.subtransactions {
        0 => {}
        1 => out += "  with 1 subtransaction\n",
        n => out += &format!("  with {n} subtransactions\n"),
    }
    let names: Vec<String> = transaction.relations.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, change) in names.iter().zip(&transaction.relations) {
        out += &format!("  {name:<width$}  {}\n", what_happened(change));
    }
    for database in &transaction.dropped_databases {
        out += &format!("  database {database} DROPPED\n");
    }
    if transaction.others.total() > 0 {
        let rows = rows(&transaction.others).join(", ");
        out += &format!("  catalogs, TOAST and others: {rows}\n");
    }
    out
}

fn name(change: &RelationChanges) -> String {
    match &change.name {
        Some(name) => printable(&name.to_string()),
        None => relation_text(change.relation),
    }
}

fn what_happened(change: &RelationChanges) -> String {
    let mut parts = Vec::new();
    for (did, what) in [
        (change.truncated, "TRUNCATED"),
        (change.dropped, "DROPPED"),
        (change.rewritten, "rewritten"),
    ] {
        if did {
            parts.push(what.to_owned());
        }
    }
    parts.extend(rows(&change.rows));
    parts.join(", ")
}

fn rows(rows: &RowCounts) -> Vec<String> {
    [(rows.deleted, "deleted"), (rows.updated, "updated"), (rows.inserted, "inserted")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

/// Names come from outside: nothing in them may steer a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

pub(super) fn json(found: &Found, commands: &Commands<'_>) -> Value {
    let transactions: Vec<_> =
        found.transactions.iter().map(|t| transaction_json(t, commands)).collect();
    json!({
        "from_lsn": found.from,
        "to_lsn": found.to,
        "matched": found.matched,
        "given_up": found.given_up,
        "transactions": transactions,
    })
}

fn transaction_json(transaction: &TransactionChanges, commands: &Commands<'_>) -> Value {
    let restore = transaction.committed.then(|| {
        json!({
            "by_xid": commands.by_xid(transaction),
            "by_lsn": commands.by_lsn(transaction),
            "backup": commands.restorable.and_then(|known| known.backup_for(transaction.lsn)),
        })
    });
    let rows = transaction.rows();
    json!({
        "xid": transaction.xid,
        "lsn": transaction.lsn,
        "end_lsn": transaction.end_lsn,
        "timeline": transaction.timeline,
        "time": transaction.time,
        "state": if transaction.committed { "committed" } else { "aborted" },
        "prepared": transaction.prepared,
        "gid": transaction.gid,
        "subtransactions": transaction.subtransactions,
        "complete": transaction.complete,
        "inserted": rows.inserted,
        "updated": rows.updated,
        "deleted": rows.deleted,
        "truncated": transaction.truncated(),
        "dropped": transaction.dropped(),
        "relations": transaction.relations.iter().map(relation_json).collect::<Vec<_>>(),
        "others": transaction.others,
        "dropped_databases": transaction.dropped_databases,
        "restore": restore,
    })
}

fn relation_json(change: &RelationChanges) -> Value {
    let files = change.relation;
    let name = change.name.as_ref();
    json!({
        "spc": files.tablespace_oid,
        "db": files.database,
        "rel": files.number,
        "database": name.and_then(|name| name.database.as_deref()),
        "schema": name.map(|name| &name.schema),
        "name": name.map(|name| &name.name),
        "oid": name.map(|name| name.oid),
        "class": name.map(|name| name.class),
        "owner": name.and_then(|name| {
            name.owner.as_ref().map(|(schema, name)| format!("{schema}.{name}"))
        }),
        "inserted": change.rows.inserted,
        "updated": change.rows.updated,
        "deleted": change.rows.deleted,
        "truncated": change.truncated,
        "dropped": change.dropped,
        "rewritten": change.rewritten,
        "new_rel": change.new_files.map(|files| files.number),
    })
}
