use std::collections::BTreeSet;

use walbrook_replication::Session;
use walbrook_repo::TablespaceRecord;
use walbrook_types::Oid;

use super::session::{text_array, unexpected};
use crate::backup::source::exclude::is_database;
use crate::backup::source::walk::{Found, Walk};
use crate::{Error, ErrorKind, Result};

/// Directories that one statement lists.
const DIRECTORIES: usize = 1000;

/// Tries to list the tablespaces while one of them is being dropped.
const TRIES: usize = 5;

/// The tablespaces that the data directory has links to, and those that are directories in it.
/// As a base backup does, this looks at the directory and not into the catalog.
pub(crate) async fn tablespaces(
    session: &mut Session,
) -> Result<(Vec<TablespaceRecord>, BTreeSet<Oid>)> {
    const SQL: &str = "SELECT n, pg_tablespace_location(n::oid) \
        FROM pg_ls_dir('pg_tblspc', true, false) n WHERE n ~ '^[1-9][0-9]{0,9}$' ORDER BY n";
    let mut tries = 0;
    let answer = loop {
        tries += 1;
        match session.simple_query(SQL).await {
            Ok(answer) => break answer,
            // One that was there a moment ago is no more.
            Err(error) if error.server_error().is_some() && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut outside = Vec::new();
    let mut in_place = BTreeSet::new();
    for row in answer.rows() {
        let oid = row.get(0).and_then(|oid| oid.parse().ok());
        let oid = oid.ok_or_else(|| unexpected(session.peer(), SQL))?;
        let location = row.get(1).ok_or_else(|| {
            let message = format!("the location of tablespace {oid} is not UTF-8");
            Error::new(ErrorKind::Server, message)
        })?;
        match location.starts_with('/') {
            true => outside.push(TablespaceRecord { oid, location: location.to_owned() }),
            false => {
                in_place.insert(oid);
            }
        }
    }
    Ok((outside, in_place))
}

/// Walks the data directory: one statement for a level of it, or for a thousand directories.
pub(crate) async fn walk(
    session: &mut Session,
    walk: &mut Walk,
    directory_mode: u32,
) -> Result<()> {
    loop {
        let level = walk.next_level();
        if level.is_empty() {
            return Ok(());
        }
        for directories in level.chunks(DIRECTORIES) {
            list(session, walk, directories, directory_mode).await?;
        }
    }
}

async fn list(
    session: &mut Session,
    walk: &mut Walk,
    directories: &[String],
    directory_mode: u32,
) -> Result<()> {
    // The server gives its files and directories these modes, and does not tell any by SQL.
    let file_mode = directory_mode & 0o666;
    let peer = session.peer().to_owned();
    let mut rows = session.copy_out(&statement(directories)).await?;
    while let Some(row) = rows.next().await? {
        let malformed = || unexpected(&peer, "the list of files");
        let directory = row
            .int4(0)
            .and_then(|number| directories.get(usize::try_from(number).ok()?.checked_sub(1)?))
            .ok_or_else(malformed)?;
        let is_directory = row.boolean(4).ok_or_else(malformed)?;
        let found = Found {
            name: row.get(1).ok_or_else(malformed)?,
            size: row.int8(2).and_then(|size| size.try_into().ok()).ok_or_else(malformed)?,
            mtime: row.int8(3).ok_or_else(malformed)?,
            is_directory,
            mode: if is_directory { directory_mode } else { file_mode },
            unlogged: row.boolean(5).ok_or_else(malformed)?,
        };
        walk.take(directory, &found)?;
    }
    Ok(())
}

/// A row for each entry of each directory. Whether a relation is unlogged is asked for each of its
/// files, as a base backup does: a cluster may have more of them than fit in memory.
fn statement(directories: &[String]) -> String {
    let paths = directories.iter().map(|path| if path.is_empty() { "." } else { path.as_str() });
    let databases: Vec<&str> =
        directories.iter().map(|path| if is_database(path) { "t" } else { "f" }).collect();
    format!(
        "COPY (SELECT d.n::int4, e.name, s.size, extract(epoch FROM s.modification)::int8, s.isdir, \
         CASE WHEN d.is_database AND e.name ~ '^[0-9]+(_fsm|_vm)?([.][0-9]+)?$' \
         THEN (pg_stat_file(d.path || '/' || substring(e.name FROM '^[0-9]+') || '_init', true)).size \
         IS NOT NULL ELSE false END \
         FROM unnest({}, '{{{}}}'::bool[]) WITH ORDINALITY AS d(path, is_database, n), \
         LATERAL pg_ls_dir(d.path, true, false) AS e(name), \
         LATERAL pg_stat_file(d.path || '/' || e.name, true) AS s WHERE s.size IS NOT NULL) \
         TO STDOUT (FORMAT binary)",
        text_array(paths),
        databases.join(","),
    )
}
