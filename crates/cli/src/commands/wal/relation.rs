use walbrook::types::Fork;
use walbrook::wal::RelLocator;

/// A relation as users name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RelationArg {
    /// `SPC/DB/REL`, as `pg_waldump` writes it.
    Files(RelLocator),
    /// As SQL names it.
    Name(String),
}

pub(super) fn relation(text: &str) -> Result<RelationArg, String> {
    let numbers: Option<Vec<u32>> = text.split('/').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[tablespace_oid, database, number]) => {
            Ok(RelationArg::Files(RelLocator { tablespace_oid, database, number }))
        }
        _ if text.trim().is_empty() || text.contains('/') => {
            Err("write TABLESPACE/DATABASE/FILE in numbers, or a name as in SQL".to_owned())
        }
        _ => Ok(RelationArg::Name(text.to_owned())),
    }
}

pub(super) fn fork(text: &str) -> Result<Fork, String> {
    Ok(match text {
        "main" => Fork::Main,
        "fsm" => Fork::FreeSpaceMap,
        "vm" => Fork::VisibilityMap,
        "init" => Fork::Init,
        _ => return Err("it must be main, fsm, vm or init".to_owned()),
    })
}

/// As `pg_waldump` calls it.
pub(super) fn fork_name(fork: Fork) -> &'static str {
    match fork {
        Fork::Main => "main",
        Fork::FreeSpaceMap => "fsm",
        Fork::VisibilityMap => "vm",
        Fork::Init => "init",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_names() {
        let files = RelLocator { tablespace_oid: 1663, database: 5, number: 16384 };
        assert_eq!(relation("1663/5/16384"), Ok(RelationArg::Files(files)));
        assert_eq!(relation("app.t"), Ok(RelationArg::Name("app.t".to_owned())));
        assert!(
            relation("1663/5").is_err() && relation(" ").is_err() && relation("a/b/c").is_err()
        );
    }
}
