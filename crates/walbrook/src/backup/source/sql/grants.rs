use walbrook_replication::Session;

use super::session::{literal, text_array, unexpected};
use crate::{Error, ErrorKind, Result};

/// The functions that an [`SqlSource`](super::SqlSource) needs and that PostgreSQL lets nobody but
/// superusers run unless they are granted (`catalog/system_functions.sql`). They are the same from
/// PostgreSQL 15 to 18.
pub const REQUIRED_FUNCTIONS: [&str; 5] = [
    "pg_catalog.pg_backup_start(text, boolean)",
    "pg_catalog.pg_backup_stop(boolean)",
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// Those of them that a backup of a local directory needs.
pub(crate) fn required_locally() -> &'static [&'static str] {
    &REQUIRED_FUNCTIONS[..2]
}

/// The statements that let a role take backups over SQL, to be run by a superuser.
///
/// Grants on functions belong to a database: `database` is the one that the role connects to.
/// `streaming` adds the attribute that streaming the WAL needs; a server that archives to the
/// repository does without.
pub fn grants(role: &str, database: &str, streaming: bool) -> String {
    let role = identifier(role);
    let mut sql = format!(
        "-- For walbrook-backup --source sql, on PostgreSQL 15 to 18. Run this as a superuser in the\n\
         -- database that walbrook-backup connects to: grants on functions belong to a database.\n\
         \\connect {}\n",
        identifier(database)
    );
    for function in REQUIRED_FUNCTIONS {
        sql += &format!("GRANT EXECUTE ON FUNCTION {function} TO {role};\n");
    }
    if streaming {
        sql += &format!(
            "-- For streaming the WAL during the backup; not needed with --wal archive.\n\
             ALTER ROLE {role} REPLICATION;\n"
        );
    }
    sql
}

/// Fails, with what is to be granted, unless the session's role may run these functions.
pub(crate) async fn check(session: &mut Session, functions: &[&str]) -> Result<()> {
    let sql = format!(
        "SELECT f, has_function_privilege(f, 'EXECUTE'), current_user, current_database() \
         FROM unnest({}) f",
        text_array(functions.iter().copied())
    );
    let answer = session.simple_query(&sql).await?;
    let mut missing = Vec::new();
    for row in answer.rows() {
        let columns = (row.get(0), row.get(1), row.get(2), row.get(3));
        let (Some(function), Some(may), Some(role), Some(database)) = columns else {
            return Err(unexpected(session.peer(), "has_function_privilege"));
        };
        if may != "t" {
            missing.push((function.to_owned(), role.to_owned(), database.to_owned()));
        }
    }
    let Some((_, role, database)) = missing.first() else { return Ok(()) };
    let statements: Vec<String> = missing
        .iter()
        .map(|(function, ..)| {
            format!("GRANT EXECUTE ON FUNCTION {function} TO {};", identifier(role))
        })
        .collect();
    let message = format!(
        "role {role:?} lacks what a backup over SQL needs: in database {database:?}, a superuser \
         must run: {} (walbrook-backup --print-grants prints all)",
        statements.join(" ")
    );
    Err(Error::new(ErrorKind::Server, message))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statement that begins a backup.
pub(crate) fn start_statement(label: &str, fast: bool) -> String {
    format!("SELECT pg_backup_start({}, {fast})", literal(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_name_the_role_and_every_function() {
        let sql = grants("o\"dd", "postgres", true);
        assert_eq!(sql.matches("GRANT EXECUTE ON FUNCTION").count(), REQUIRED_FUNCTIONS.len());
        assert!(sql.contains("TO \"o\"\"dd\";"), "{sql}");
        assert!(sql.contains("ALTER ROLE \"o\"\"dd\" REPLICATION;"), "{sql}");
        assert!(!grants("r", "postgres", false).contains("ALTER ROLE"));
    }
}
