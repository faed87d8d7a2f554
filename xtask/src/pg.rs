//! `cargo xtask pg`: the PostgreSQL servers that tests run against.

use anyhow::{Result, bail};
use walbrook_testkit::{Installation, cache_dir, ensure_postgres};

use crate::table;

pub(crate) fn run(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        bail!("pg takes no arguments; WALBROOK_PG_BIN_DIRS adds bin directories (colon-separated)");
    }
    let found = obtain()?;
    println!("{} PostgreSQL servers; builds are kept in {}", found.len(), cache_dir().display());
    Ok(())
}

/// Obtains what is missing, and prints what there is.
pub(crate) fn obtain() -> Result<Vec<Installation>> {
    let found = ensure_postgres(&mut |line| println!("  {line}"))?;
    let mut rows =
        vec![["PostgreSQL", "amcheck", "pg_visibility", "directory"].map(str::to_owned).to_vec()];
    let yes_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    for i in &found {
        rows.push(vec![
            format!("{}.{}", i.version.0, i.version.1),
            yes_no(i.has_contrib("amcheck")),
            yes_no(i.has_contrib("pg_visibility")),
            i.bin_dir.display().to_string(),
        ]);
    }
    table::print(&rows);
    Ok(found)
}
