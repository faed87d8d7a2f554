use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fmt::Write as _;

use walbrook_replication::{ConnInfo, Row, Session};
use walbrook_types::{Oid, SystemId};
use walbrook_wal::RelLocator;

use crate::{Error, ErrorKind, Result};

/// What a live server calls a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelationName {
    /// The database; none for a relation that all share.
    pub database: Option<String>,
    /// Its OID; zero for a relation that all share.
    pub database_oid: Oid,
    /// The schema, quoted where SQL asks for it.
    pub schema: String,
    /// The name, quoted where SQL asks for it.
    pub name: String,
    /// The relation's OID.
    pub oid: Oid,
    /// What it is.
    pub class: RelationClass,
    /// The table that a TOAST table belongs to: schema and name.
    pub owner: Option<(String, String)>,
    /// Whether it has other files now, and was told by its OID, which is the number of a relation's
    /// first files.
    pub former: bool,
}

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RelationClass {
    /// A table or materialized view of a user.
    Table,
    /// What a table keeps its long values in.
    Toast,
    /// One of PostgreSQL's own, with its TOAST tables and indexes.
    Catalog,
    /// An index.
    Index,
    /// Anything else.
    Other,
}

impl fmt::Display for RelationName {
    /// `database.schema.name`; of a TOAST table, with the table that it belongs to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database.iter().map(|name| format!("{name}.")).collect::<String>();
        match &self.owner {
            Some((schema, name)) => write!(f, "{database}{schema}.{name} (TOAST)"),
            None => write!(f, "{database}{}.{}", self.schema, self.name),
        }
    }
}

/// Names of relations, asked of a live server when they are needed.
///
/// Connects to one database after the other: a database that does not let one in has no names.
pub struct RelationNames {
    server: ConnInfo,
    system: SystemId,
    databases: BTreeMap<Oid, String>,
    own_database: Oid,
    known: HashMap<RelLocator, Option<RelationName>>,
    warnings: Vec<String>,
}

/// How many relations one statement asks for.
const AT_ONCE: usize = 10_000;

impl RelationNames {
    /// Connects, and lists the databases.
    pub async fn connect(server: &ConnInfo) -> Result<Self> {
        let mut session = Session::sql(server).await?;
        let sql = "SELECT (SELECT system_identifier FROM pg_control_system()), \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
        let answer = session.simple_query(sql).await?;
        let identity = answer.rows().first();
        let text = |column| identity.and_then(|row| row.get(column)).unwrap_or_default();
        let unexpected = || {
            let peer = session.peer();
            Error::new(ErrorKind::Server, format!("the server at {peer} did not say which it is"))
        };
        let system = text(0).parse().map_err(|_| unexpected())?;
        let own_database = text(1).parse().map_err(|_| unexpected())?;
        let sql = "SELECT oid, datname FROM pg_database WHERE datallowconn";
        let answer = session.simple_query(sql).await?;
        let databases = answer
            .rows()
            .iter()
            .filter_map(|row| Some((row.get(0)?.parse().ok()?, row.get(1)?.to_owned())));
        Ok(Self {
            server: server.clone(),
            system,
            databases: databases.collect(),
            own_database,
            known: HashMap::new(),
            warnings: Vec::new(),
        })
    }

    /// The files and the identity of a relation of the connection's own database, by its name as SQL
    /// takes it: `orders`, `app.orders`, `"Orders"`.
    pub async fn find(&mut self, name: &str) -> Result<(RelLocator, Oid)> {
        let mut session = Session::sql(&self.server).await?;
        let quoted = literal(name);
        let sql = format!(
            "SELECT c.oid, pg_relation_filenode(c.oid), {TABLESPACE}, c.relisshared \
             FROM pg_class c, pg_database d \
             WHERE c.oid = to_regclass({quoted}) AND d.datname = current_database()"
        );
        let answer = session.simple_query(&sql).await?;
        let found = answer.rows().first().and_then(|row| {
            let shared = row.get(3)? == "t";
            let relation = RelLocator {
                tablespace_oid: row.get(2)?.parse().ok()?,
                database: if shared { 0 } else { self.own_database },
                number: row.get(1)?.parse().ok()?,
            };
            Some((relation, row.get(0)?.parse().ok()?))
        });
        found.ok_or_else(|| {
            let database = self.databases.get(&self.own_database).cloned().unwrap_or_default();
            let message = format!(
                "database {database} has no relation {name} with files: a partitioned table has none \
                 of its own, name its partitions; other databases are reached by --dsn"
            );
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Fails when the server is of another cluster than this: its names would be wrong.
    pub fn check_system(&self, system: SystemId) -> Result<()> {
        if self.system == system {
            return Ok(());
        }
        let message = format!(
            "the server of --dsn is of system {}, and the WAL of system {system}: names would be \
             wrong; check --dsn and --cluster",
            self.system
        );
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// Asks for the names of those of these relations that were not asked for before.
    pub async fn resolve(&mut self, relations: &[RelLocator]) -> Result<()> {
        let mut wanted: BTreeMap<Oid, Vec<RelLocator>> = BTreeMap::new();
        for relation in relations {
            if !self.known.contains_key(relation) {
                self.known.insert(*relation, None);
                wanted.entry(relation.database).or_default().push(*relation);
            }
        }
        for (database, relations) in wanted {
            let reached = if database == 0 { self.own_database } else { database };
            let Some(name) = self.databases.get(&reached).cloned() else { continue };
            if let Err(error) = self.ask(database, &name, &relations).await {
                self.warnings.push(format!("database {name} was not asked for names: {error}"));
                self.databases.remove(&reached);
            }
        }
        Ok(())
    }

    /// What a relation is called; none when nobody asked, or the server does not know.
    pub fn get(&self, relation: &RelLocator) -> Option<&RelationName> {
        self.known.get(relation)?.as_ref()
    }

    /// What went wrong since this was last asked.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    async fn ask(&mut self, database: Oid, name: &str, relations: &[RelLocator]) -> Result<()> {
        let mut session = Session::sql(&self.server.clone().with_dbname(name)).await?;
        for relations in relations.chunks(AT_ONCE) {
            let answer = session.simple_query(&question(relations)).await?;
            for row in answer.rows() {
                if let Some((relation, found)) = read(row, database, name) {
                    self.known.insert(relation, Some(found));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RelationNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelationNames").field("system", &self.system).finish_non_exhaustive()
    }
}

/// The tablespace of relation `c` in database `d`: zero stands for the database's own.
const TABLESPACE: &str = "coalesce(nullif(c.reltablespace, 0), d.dattablespace)";

/// Asks for relations by their files, mapped ones included, and then for those that are left by
/// the OID that their first file had for a number. `pg_filenode_relation` would do for the first
/// but for temporary relations, whose numbers may be those of others.
fn question(relations: &[RelLocator]) -> String {
    let mut values = String::new();
    for relation in relations {
        let comma = if values.is_empty() { "" } else { ", " };
        let _ = write!(values, "{comma}({}, {})", relation.tablespace_oid, relation.number);
    }
    format!(
        "WITH wanted (spc, num) AS (SELECT v.s::oid, v.n::oid FROM (VALUES {values}) AS v (s, n)), \
         files AS (SELECT c.oid, pg_relation_filenode(c.oid) AS num, {TABLESPACE} AS spc \
           FROM pg_class c, pg_database d \
           WHERE d.datname = current_database() AND c.relpersistence <> 't'), \
         now AS (SELECT w.spc, w.num, f.oid, false AS former \
           FROM wanted w JOIN files f ON f.num = w.num AND f.spc = w.spc), \
         found AS (SELECT * FROM now UNION ALL SELECT w.spc, w.num, c.oid, true \
           FROM wanted w JOIN pg_class c ON c.oid = w.num \
           WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 't', 'm', 'i', 'S') \
             AND NOT EXISTS (SELECT FROM now n WHERE n.num = w.num AND n.spc = w.spc)) \
         SELECT f.spc, f.num, c.oid, quote_ident(s.nspname), quote_ident(c.relname), c.relkind, \
           f.former, quote_ident(os.nspname), quote_ident(o.relname), \
           c.oid < 16384 OR s.nspname = 'pg_catalog' \
         FROM found f JOIN pg_class c ON c.oid = f.oid \
           JOIN pg_namespace s ON s.oid = c.relnamespace \
           LEFT JOIN pg_class o ON c.relkind = 't' AND o.reltoastrelid = c.oid \
           LEFT JOIN pg_namespace os ON os.oid = o.relnamespace"
    )
}

fn read(row: &Row, database: Oid, name: &str) -> Option<(RelLocator, RelationName)> {
    let relation = RelLocator {
        tablespace_oid: row.get(0)?.parse().ok()?,
        database,
        number: row.get(1)?.parse().ok()?,
    };
    let class = match (row.get(9)?, row.get(5)?) {
        ("t", _) => RelationClass::Catalog,
        (_, "r" | "m") => RelationClass::Table,
        (_, "t") => RelationClass::Toast,
        (_, "i") => RelationClass::Index,
        _ => RelationClass::Other,
    };
    let owner = row.get(7).zip(row.get(8)).map(|(s, n)| (s.to_owned(), n.to_owned()));
    let found = RelationName {
        database: (database != 0).then(|| name.to_owned()),
        database_oid: database,
        schema: row.get(3)?.to_owned(),
        name: row.get(4)?.to_owned(),
        oid: row.get(2)?.parse().ok()?,
        class,
        owner,
        former: row.get(6)? == "t",
    };
    Some((relation, found))
}

/// A string constant of SQL, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
