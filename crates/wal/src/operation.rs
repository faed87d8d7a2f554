use crate::{Record, RecordHeader, RmgrId, WalVersion};

/// The names of all operations of PostgreSQL's own resource managers, by resource manager and by
/// the high four bits of `xl_info`; empty for bits that mean nothing. They are what each manager's
/// `rm_identify` answers (`access/rmgrdesc`), as of version 18.
const NAMES: [&[&str]; 20] = [
    // XLOG
    &[
        "CHECKPOINT_SHUTDOWN",
        "CHECKPOINT_ONLINE",
        "NOOP",
        "NEXTOID",
        "SWITCH",
        "BACKUP_END",
        "PARAMETER_CHANGE",
        "RESTORE_POINT",
        "FPW_CHANGE",
        "END_OF_RECOVERY",
        "FPI_FOR_HINT",
        "FPI",
        "",
        "OVERWRITE_CONTRECORD",
        "CHECKPOINT_REDO",
    ],
    // Transaction
    &[
        "COMMIT",
        "PREPARE",
        "ABORT",
        "COMMIT_PREPARED",
        "ABORT_PREPARED",
        "ASSIGNMENT",
        "INVALIDATION",
    ],
    // Storage
    &["", "CREATE", "TRUNCATE"],
    // CLOG
    &["ZEROPAGE", "TRUNCATE"],
    // Database
    &["CREATE_FILE_COPY", "CREATE_WAL_LOG", "DROP"],
    // Tablespace
    &["CREATE", "DROP"],
    // MultiXact
    &["ZERO_OFF_PAGE", "ZERO_MEM_PAGE", "CREATE_ID", "TRUNCATE_ID"],
    // RelMap
    &["UPDATE"],
    // Standby
    &["LOCK", "RUNNING_XACTS", "INVALIDATIONS"],
    // Heap2
    &[
        "REWRITE",
        "PRUNE_ON_ACCESS",
        "PRUNE_VACUUM_SCAN",
        "PRUNE_VACUUM_CLEANUP",
        "VISIBLE",
        "MULTI_INSERT",
        "LOCK_UPDATED",
        "NEW_CID",
        "",
        "",
        "",
        "",
        "",
        "MULTI_INSERT+INIT",
    ],
    // Heap
    &[
        "INSERT",
        "DELETE",
        "UPDATE",
        "TRUNCATE",
        "HOT_UPDATE",
        "HEAP_CONFIRM",
        "LOCK",
        "INPLACE",
        "INSERT+INIT",
        "",
        "UPDATE+INIT",
        "",
        "HOT_UPDATE+INIT",
    ],
    // Btree
    &[
        "INSERT_LEAF",
        "INSERT_UPPER",
        "INSERT_META",
        "SPLIT_L",
        "SPLIT_R",
        "INSERT_POST",
        "DEDUP",
        "DELETE",
        "UNLINK_PAGE",
        "UNLINK_PAGE_META",
        "NEWROOT",
        "MARK_PAGE_HALFDEAD",
        "VACUUM",
        "REUSE_PAGE",
        "META_CLEANUP",
    ],
    // Hash
    &[
        "INIT_META_PAGE",
        "INIT_BITMAP_PAGE",
        "INSERT",
        "ADD_OVFL_PAGE",
        "SPLIT_ALLOCATE_PAGE",
        "SPLIT_PAGE",
        "SPLIT_COMPLETE",
        "MOVE_PAGE_CONTENTS",
        "SQUEEZE_PAGE",
        "DELETE",
        "SPLIT_CLEANUP",
        "UPDATE_META_PAGE",
        "VACUUM_ONE_PAGE",
    ],
    // Gin
    &[
        "",
        "CREATE_PTREE",
        "INSERT",
        "SPLIT",
        "VACUUM_PAGE",
        "DELETE_PAGE",
        "UPDATE_META_PAGE",
        "INSERT_LISTPAGE",
        "DELETE_LISTPAGE",
        "VACUUM_DATA_LEAF_PAGE",
    ],
    // Gist
    &["PAGE_UPDATE", "DELETE", "PAGE_REUSE", "PAGE_SPLIT", "", "", "PAGE_DELETE", "ASSIGN_LSN"],
    // Sequence
    &["LOG"],
    // SPGist
    &[
        "",
        "ADD_LEAF",
        "MOVE_LEAFS",
        "ADD_NODE",
        "SPLIT_TUPLE",
        "PICKSPLIT",
        "VACUUM_LEAF",
        "VACUUM_ROOT",
        "VACUUM_REDIRECT",
    ],
    // BRIN
    &[
        "CREATE_INDEX",
        "INSERT",
        "UPDATE",
        "SAMEPAGE_UPDATE",
        "REVMAP_EXTEND",
        "DESUMMARIZE",
        "",
        "",
        "",
        "INSERT+INIT",
        "UPDATE+INIT",
    ],
    // CommitTs
    &["ZEROPAGE", "TRUNCATE"],
    // ReplicationOrigin
    &["SET", "DROP"],
];

/// `Heap2`'s operations 1 to 3 before version 17 joined pruning, vacuum and freezing.
const HEAP2_BEFORE_17: [&str; 3] = ["PRUNE", "VACUUM", "FREEZE_PAGE"];

impl RmgrId {
    /// The name of the operation that `xl_info` stands for with this resource manager in this
    /// version: what `pg_waldump` prints behind `desc:`, such as `INSERT+INIT`. None where it prints
    /// `UNKNOWN (f0)`, which is also how it names every operation of an extension's.
    pub fn operation_name(self, version: WalVersion, info: u8) -> Option<&'static str> {
        let operation = usize::from(info >> 4);
        let name = match self {
            Self::GENERIC => "Generic",
            Self::LOGICAL_MESSAGE if operation == 0 => "MESSAGE",
            // The highest bit is a flag there (`XLOG_XACT_HAS_INFO`).
            Self::XACT => NAMES.get(1)?.get(operation & 7)?,
            Self::XLOG if operation == 0xE && version < WalVersion::V17 => return None,
            Self::HEAP2 if matches!(operation, 1..=3) && version < WalVersion::V17 => {
                HEAP2_BEFORE_17.get(operation - 1)?
            }
            _ => NAMES.get(usize::from(self.0))?.get(operation)?,
        };
        (!name.is_empty()).then_some(name)
    }
}

impl RecordHeader {
    /// The [name of the operation](RmgrId::operation_name) in a log of this version.
    pub fn operation_name(&self, version: WalVersion) -> Option<&'static str> {
        self.rmgr.operation_name(version, self.info)
    }
}

impl Record {
    /// The [name of the operation](RmgrId::operation_name): what `pg_waldump` prints behind `desc:`.
    pub fn operation_name(&self) -> Option<&'static str> {
        self.header.operation_name(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_between_versions() {
        let name = |rmgr: RmgrId, info| WalVersion::ALL.map(|v| rmgr.operation_name(v, info));
        let redo = Some("CHECKPOINT_REDO");
        assert_eq!(name(RmgrId::XLOG, 0xE0), [None, None, redo, redo]);
        let prune = Some("PRUNE_ON_ACCESS");
        assert_eq!(name(RmgrId::HEAP2, 0x10), [Some("PRUNE"), Some("PRUNE"), prune, prune]);
        assert_eq!(name(RmgrId::XACT, 0x80), [Some("COMMIT"); 4]);
        assert_eq!(name(RmgrId::XACT, 0xF0), [None; 4]);
        assert_eq!(name(RmgrId(128), 0), [None; 4]);
        assert_eq!(name(RmgrId::LOGICAL_MESSAGE, 0x10), [None; 4]);
    }
}
