//! [`fingerprint`]: what a database holds, in a form that two clusters can be compared by.

use std::collections::BTreeMap;

use crate::cluster::Cluster;
use crate::error::Result;

/// The digest of each object of a database, by name such as `table public.t`.
///
/// `assert_eq!` on two of these shows which object differs.
pub type Fingerprint = BTreeMap<String, Digest>;

/// How much an object holds, and a digest over all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Number of rows; of bytes for a large object.
    pub size: String,
    /// Over the text of every row, whatever their order.
    pub hash: String,
}

/// A sum does not depend on the order of rows, counts duplicates and needs no memory. Two
/// seeds make up for the hash's 64 bits.
const HASH: &str = "coalesce(sum(hashtextextended(walbrook_row::text, 0)::numeric), 0) || '/' || \
                    coalesce(sum(hashtextextended(walbrook_row::text, 20)::numeric), 0)";

/// Digests every table, materialized view and large object of a database.
///
/// Left out are the system's own, temporary tables, and unlogged ones, which
/// PostgreSQL empties on recovery; for sequences see [`sequences`]. Rows are read by
/// sequential scans in one snapshot, so it is the heap that is compared and not an index.
///
/// # Errors
/// With the server's message, for example when a page is damaged.
pub fn fingerprint(cluster: &Cluster, database: &str) -> Result<Fingerprint> {
    let list = "SELECT c.relkind, quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relispopulated \
                AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 2";
    let mut sql = String::from(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n\
         SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
         SET LOCAL enable_bitmapscan = off; SET LOCAL timezone = 'UTC'; \
         SET LOCAL datestyle = 'ISO'; SET LOCAL extra_float_digits = 1;\n",
    );
    for row in cluster.query_rows(database, list)? {
        let kind = if row[0] == "m" { "matview" } else { "table" };
        let (name, label) = (&row[1], row[1].replace('\'', "''"));
        sql += &format!(
            "SELECT '{kind} {label}', count(*), {HASH} FROM ONLY {name} AS walbrook_row;\n"
        );
    }
    sql += "SELECT 'large object ' || oid, length(lo_get(oid)), md5(lo_get(oid)) \
            FROM pg_largeobject_metadata ORDER BY oid;\nCOMMIT;\n";
    Ok(digests(cluster.query_rows(database, &sql)?))
}

/// The last value of each sequence of a database, by name.
///
/// Not part of [`fingerprint`], because recovery may rightly leave a sequence up to 32
/// values ahead: `nextval` logs that many in advance (`SEQ_LOG_VALS` in
/// `src/backend/commands/sequence.c`).
///
/// # Errors
/// With the server's message.
pub fn sequences(cluster: &Cluster, database: &str) -> Result<BTreeMap<String, i64>> {
    let list = "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), \
                coalesce(last_value, 0) FROM pg_sequences";
    let entry = |row: Vec<String>| Some((row.first()?.clone(), row.get(1)?.parse().ok()?));
    Ok(cluster.query_rows(database, list)?.into_iter().filter_map(entry).collect())
}

/// [`fingerprint`] of every database that takes connections, by its name, and
/// the cluster's roles and tablespaces under the empty name.
///
/// # Errors
/// As [`fingerprint`].
pub fn fingerprint_all(cluster: &Cluster) -> Result<BTreeMap<String, Fingerprint>> {
    let databases = "SELECT datname FROM pg_database WHERE datallowconn";
    let mut all = BTreeMap::new();
    for row in cluster.query_rows("postgres", databases)? {
        all.insert(row[0].clone(), fingerprint(cluster, &row[0])?);
    }
    let shared = "SELECT 'role ' || rolname, 1, md5(pg_authid::text) FROM pg_authid UNION ALL \
                  SELECT 'tablespace ' || spcname, 1, md5(pg_tablespace::text) FROM pg_tablespace";
    all.insert(String::new(), digests(cluster.query_rows("postgres", shared)?));
    Ok(all)
}

fn digests(rows: Vec<Vec<String>>) -> Fingerprint {
    let entry = |row: Vec<String>| match <[String; 3]>::try_from(row) {
        Ok([name, size, hash]) => Some((name, Digest { size, hash })),
        Err(_) => None,
    };
    rows.into_iter().filter_map(entry).collect()
}
