use walbrook_types::{BlockNumber, Fork};
use walbrook_wal::{BlockRef, Record, RelLocator, RmgrId, Xid};

use crate::Result;

/// Which records are wanted, as by the options of `pg_waldump`: all that is given must hold, and
/// relation, fork and block must hold for one and the same block reference.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RecordFilter {
    /// Those of one of these resource managers; of all when empty.
    pub rmgrs: Vec<RmgrId>,
    /// Those of this transaction.
    pub xid: Option<Xid>,
    /// Those about a block of one of these relations; of any when empty.
    pub relations: Vec<RelLocator>,
    /// Those about a block of this fork.
    pub fork: Option<Fork>,
    /// Those about this block.
    pub block: Option<BlockNumber>,
    /// Those with a full-page image.
    pub full_page: bool,
}

impl RecordFilter {
    /// Whether a record is wanted.
    pub fn matches(&self, record: &Record) -> Result<bool> {
        let header = &record.header;
        if !self.rmgrs.is_empty() && !self.rmgrs.contains(&header.rmgr) {
            return Ok(false);
        }
        if self.xid.is_some_and(|xid| xid != header.xid) {
            return Ok(false);
        }
        let about = !self.relations.is_empty() || self.fork.is_some() || self.block.is_some();
        if !about && !self.full_page {
            return Ok(true);
        }
        let parts = record.parts().map_err(super::garbled)?;
        let wanted = |block: &BlockRef<'_>| {
            (self.relations.is_empty() || self.relations.contains(&block.relation))
                && self.fork.is_none_or(|fork| fork == block.fork)
                && self.block.is_none_or(|number| number == block.block)
        };
        Ok((!about || parts.blocks().any(|block| wanted(&block)))
            && (!self.full_page || parts.blocks().any(|block| block.image.is_some())))
    }
}

/// A relation's files as `pg_waldump` writes them: tablespace, database and file number.
pub fn relation_text(relation: RelLocator) -> String {
    format!("{}/{}/{}", relation.tablespace_oid, relation.database, relation.number)
}
