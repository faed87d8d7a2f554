//! What a base backup leaves out: the rules of PostgreSQL's `backup/basebackup.c` (`sendDir`,
//! `excludeDirContents`, `excludeFiles`).

/// Directories whose content is made anew when a server starts. They are kept, empty.
const EMPTIED: [&str; 7] = [
    "pg_stat_tmp",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
];

/// Files that belong to the running server, or to an earlier backup.
const LEFT_OUT: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
];

/// The relation cache's files, and their temporary ones.
const RELCACHE: &str = "pg_internal.init";

/// Temporary files and their directories.
const TEMPORARY: &str = "pgsql_tmp";

/// What is to be done with an entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is not part of a backup.
    Skip,
    /// It is.
    Keep,
    /// The directory is, but not what is in it.
    KeepEmpty,
    /// `pg_wal`: kept, with the empty directories that a server expects in it.
    Wal,
}

/// Judges the entry `name` of `directory`, a path relative to the data directory. Unlogged
/// relations are recognised by [`unlogged_init_fork`].
pub(crate) fn judge(directory: &str, name: &str, is_directory: bool) -> Judgement {
    if name.starts_with(TEMPORARY)
        || name.starts_with(RELCACHE)
        || LEFT_OUT.contains(&name)
        || (is_database(directory) && is_temporary_relation(name))
        || (directory == "global" && name == "pg_control")
    {
        return Judgement::Skip;
    }
    // The server's socket, if it is there. A listing by SQL can't tell that it is none of the
    // regular files that are copied.
    if name.starts_with(".s.PGSQL.") && !name.ends_with(".lock") {
        return Judgement::Skip;
    }
    if is_directory && EMPTIED.contains(&name) {
        return Judgement::KeepEmpty;
    }
    match (directory, name) {
        ("", "pg_wal") => Judgement::Wal,
        _ => Judgement::Keep,
    }
}

/// Whether this is a database's directory, in which relations lie.
pub(crate) fn is_database(directory: &str) -> bool {
    let mut parts = directory.split('/');
    match parts.next() {
        Some("base") => {}
        Some("pg_tblspc") => {
            let version = (parts.next(), parts.next());
            if !version.1.is_some_and(|name| name.starts_with("PG_")) {
                return false;
            }
        }
        _ => return false,
    }
    parts.next().is_some_and(is_number) && parts.next().is_none()
}

/// For a file of a relation, other than an init fork: the name of the init fork that exists if the
/// relation is unlogged. Then it is not part of a backup.
pub(crate) fn unlogged_init_fork(directory: &str, name: &str) -> Option<String> {
    if !is_database(directory) {
        return None;
    }
    let stem = match name.split_once('.') {
        Some((stem, segment)) => is_number(segment).then_some(stem)?,
        None => name,
    };
    let number = match stem.split_once('_') {
        None => stem,
        Some((number, "fsm" | "vm")) => number,
        Some(_) => return None,
    };
    is_number(number).then(|| format!("{number}_init"))
}

/// `t<backend>_<number>`, with a fork and a segment perhaps (`looks_like_temp_rel_name`).
fn is_temporary_relation(name: &str) -> bool {
    let Some((backend, rest)) = name.strip_prefix('t').and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let stem = match rest.split_once('.') {
        Some((stem, segment)) if is_number(segment) => stem,
        Some(_) => return false,
        None => rest,
    };
    let number = match stem.split_once('_') {
        None => stem,
        Some((number, "fsm" | "vm" | "init")) => number,
        Some(_) => return false,
    };
    is_number(backend) && is_number(number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_base_backup_leaves_out() {
        for (directory, name) in [
            ("", "postmaster.pid"),
            ("", "backup_label"),
            ("", ".s.PGSQL.5432"),
            ("global", "pg_control"),
            ("global", "pg_internal.init"),
            ("base/5", "pg_internal.init.123"),
            ("base/5", "t3_16384"),
            ("base/5", "t3_16384_fsm.1"),
            ("base", "pgsql_tmp"),
            ("pg_tblspc/9/PG_15_202209061", "pgsql_tmp"),
            ("pg_tblspc/9/PG_15_202209061/5", "t3_16384"),
        ] {
            assert_eq!(judge(directory, name, false), Judgement::Skip, "{directory}/{name}");
        }
        for (directory, name) in [
            ("", "PG_VERSION"),
            ("", "pg_hba.conf"),
            ("", "t3_16384"),
            ("base/5", "16384"),
            ("base/5", "t3"),
            ("base/5", "t3_x"),
            ("base/5", "t3_1_foo"),
            ("global", "1262"),
            ("", ".s.PGSQL.5432.lock"),
        ] {
            assert_eq!(judge(directory, name, false), Judgement::Keep, "{directory}/{name}");
        }
        assert_eq!(judge("", "pg_wal", true), Judgement::Wal);
        assert_eq!(judge("", "pg_replslot", true), Judgement::KeepEmpty);
        assert_eq!(judge("base", "pg_wal", true), Judgement::Keep);
    }

    #[test]
    fn unlogged_relations() {
        let init = |name| unlogged_init_fork("base/5", name);
        for name in ["16384", "16384.1", "16384_fsm", "16384_vm.2"] {
            assert_eq!(init(name).as_deref(), Some("16384_init"), "{name}");
        }
        for name in ["16384_init", "16384_init.1", "PG_VERSION", "t1_16384", "16384.x", "_fsm"] {
            assert_eq!(init(name), None, "{name}");
        }
        assert_eq!(unlogged_init_fork("global", "1262"), None);
        assert!(unlogged_init_fork("pg_tblspc/9/PG_15_202209061/5", "7").is_some());
    }
}
