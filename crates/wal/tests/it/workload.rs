//! Something of every kind of record.

use walbrook_testkit::Cluster;

/// What every version writes while [`run`] does its work, by resource manager and operation: the test
/// that looks for them fails when the workload ceases to cover one.
pub(crate) const COVERED: &[&str] = &[
    "XLOG/CHECKPOINT_SHUTDOWN",
    "XLOG/CHECKPOINT_ONLINE",
    "XLOG/NEXTOID",
    "XLOG/SWITCH",
    "XLOG/BACKUP_END",
    "XLOG/PARAMETER_CHANGE",
    "XLOG/RESTORE_POINT",
    "XLOG/FPI_FOR_HINT",
    "XLOG/FPI",
    "Transaction/COMMIT",
    "Transaction/PREPARE",
    "Transaction/ABORT",
    "Transaction/COMMIT_PREPARED",
    "Transaction/ABORT_PREPARED",
    "Transaction/ASSIGNMENT",
    "Transaction/INVALIDATION",
    "Storage/CREATE",
    "Storage/TRUNCATE",
    "CLOG/ZEROPAGE",
    "Database/CREATE_FILE_COPY",
    "Database/CREATE_WAL_LOG",
    "Database/DROP",
    "Tablespace/CREATE",
    "Tablespace/DROP",
    "MultiXact/ZERO_MEM_PAGE",
    "MultiXact/CREATE_ID",
    "RelMap/UPDATE",
    "Standby/LOCK",
    "Standby/RUNNING_XACTS",
    "Standby/INVALIDATIONS",
    "Heap2/REWRITE",
    "Heap2/VISIBLE",
    "Heap2/MULTI_INSERT",
    "Heap2/MULTI_INSERT+INIT",
    "Heap2/LOCK_UPDATED",
    "Heap2/NEW_CID",
    "Heap/INSERT",
    "Heap/INSERT+INIT",
    "Heap/DELETE",
    "Heap/UPDATE",
    "Heap/UPDATE+INIT",
    "Heap/TRUNCATE",
    "Heap/HOT_UPDATE",
    "Heap/HEAP_CONFIRM",
    "Heap/LOCK",
    "Heap/INPLACE",
    "Btree/INSERT_LEAF",
    "Btree/INSERT_UPPER",
    "Btree/SPLIT_L",
    "Btree/SPLIT_R",
    "Btree/INSERT_POST",
    "Btree/DEDUP",
    "Btree/DELETE",
    "Btree/UNLINK_PAGE",
    "Btree/NEWROOT",
    "Btree/MARK_PAGE_HALFDEAD",
    "Btree/VACUUM",
    "Btree/REUSE_PAGE",
    "Hash/INIT_META_PAGE",
    "Hash/INIT_BITMAP_PAGE",
    "Hash/INSERT",
    "Hash/ADD_OVFL_PAGE",
    "Hash/SPLIT_ALLOCATE_PAGE",
    "Hash/SPLIT_PAGE",
    "Hash/SPLIT_COMPLETE",
    "Hash/SQUEEZE_PAGE",
    "Hash/DELETE",
    "Hash/SPLIT_CLEANUP",
    "Hash/UPDATE_META_PAGE",
    "Gin/CREATE_PTREE",
    "Gin/INSERT",
    "Gin/SPLIT",
    "Gin/VACUUM_PAGE",
    "Gin/UPDATE_META_PAGE",
    "Gin/INSERT_LISTPAGE",
    "Gin/DELETE_LISTPAGE",
    "Gin/VACUUM_DATA_LEAF_PAGE",
    "Gist/PAGE_UPDATE",
    "Gist/PAGE_REUSE",
    "Gist/PAGE_SPLIT",
    "Gist/PAGE_DELETE",
    "Sequence/LOG",
    "SPGist/ADD_LEAF",
    "SPGist/MOVE_LEAFS",
    "SPGist/ADD_NODE",
    "SPGist/SPLIT_TUPLE",
    "SPGist/PICKSPLIT",
    "SPGist/VACUUM_LEAF",
    "SPGist/VACUUM_ROOT",
    "SPGist/VACUUM_REDIRECT",
    "BRIN/CREATE_INDEX",
    "BRIN/INSERT",
    "BRIN/INSERT+INIT",
    "BRIN/SAMEPAGE_UPDATE",
    "BRIN/REVMAP_EXTEND",
    "BRIN/DESUMMARIZE",
    "CommitTs/ZEROPAGE",
    "ReplicationOrigin/SET",
    "ReplicationOrigin/DROP",
    "LogicalMessage/MESSAGE",
];

/// The same for 15 and 16, and for 17 and 18.
pub(crate) const COVERED_UNTIL_16: &[&str] = &["Heap2/PRUNE", "Heap2/VACUUM", "Heap2/FREEZE_PAGE"];
pub(crate) const COVERED_SINCE_17: &[&str] = &[
    "XLOG/CHECKPOINT_REDO",
    "Heap2/PRUNE_ON_ACCESS",
    "Heap2/PRUNE_VACUUM_SCAN",
    "Heap2/PRUNE_VACUUM_CLEANUP",
];

/// What the workload does to the rows of its table `counted`, by its own statements: inserted,
/// updated, deleted. Rows of transactions that abort are among them.
pub(crate) const COUNTED: (u32, u32, u32) = (1 + 99 + 900 + 1, 30 + 10, 50 + 7);

/// Does a little of everything in a cluster with `wal_level=logical`, `wal_log_hints=on` and prepared
/// transactions.
pub(crate) fn run(cluster: &Cluster) {
    let side = cluster.make_dir("side").unwrap();
    let copy = cluster.make_dir("copy").unwrap().join("file");
    let variables = format!(
        "\\set side '{}'\n\\set copyfile '{}'\n",
        side.to_str().unwrap(),
        copy.to_str().unwrap()
    );
    let sql = variables + include_str!("workload.sql");
    cluster.psql_ok("postgres", &sql).unwrap();
    for method in methods(cluster) {
        // The first change of a page behind a checkpoint brings its image.
        let sql = format!(
            "CHECKPOINT; SET wal_compression = {method}; \
             SELECT pg_logical_emit_message(false, 'wal_compression', '{method}'); \
             UPDATE toasted SET s = repeat(s, 2) WHERE n < 3; \
             INSERT INTO serial_table (s) SELECT repeat(md5(n::text), 5) FROM generate_series(1, 300) AS n; \
             UPDATE churn SET s = '{method}' WHERE n % 3 = 0;"
        );
        cluster.psql_ok("postgres", &sql).unwrap();
    }
}

/// The ways to compress images that this build has.
pub(crate) fn methods(cluster: &Cluster) -> Vec<String> {
    let sql = "SELECT unnest(enumvals) FROM pg_settings WHERE name = 'wal_compression'";
    let methods = cluster.psql("postgres", sql).unwrap();
    let ways = ["off", "pglz", "lz4", "zstd"];
    methods.lines().filter(|way| ways.contains(way)).map(str::to_owned).collect()
}
