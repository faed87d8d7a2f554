use walbrook_types::Lsn;
use walbrook_wal::{Record, RmgrId, WalVersion};

use crate::Result;

/// Counts and sizes of records, as `pg_waldump --stats` and `--stats=record` show them.
#[derive(Debug, Clone, Default)]
pub struct WalStats {
    /// By resource manager, and within it by operation: sixteen each, as far as any occurred.
    totals: Vec<StatsTotals>,
    version: Option<WalVersion>,
    from: Option<Lsn>,
    to: Lsn,
}

/// Counts and sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct StatsTotals {
    /// How many records.
    pub count: u64,
    /// Their length in bytes without full-page images.
    pub record_bytes: u64,
    /// The length of their full-page images, as stored, in bytes.
    pub fpi_bytes: u64,
}

impl StatsTotals {
    /// The whole length in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.record_bytes + self.fpi_bytes
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.record_bytes += other.record_bytes;
        self.fpi_bytes += other.fpi_bytes;
    }
}

/// One line of statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsRow {
    /// The resource manager.
    pub rmgr: RmgrId,
    /// The operation, where counts are by operation.
    pub operation: Option<String>,
    /// Counts and sizes.
    pub totals: StatsTotals,
}

impl WalStats {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) -> Result<()> {
        let parts = record.parts().map_err(super::garbled)?;
        let images = parts.blocks().filter_map(|block| block.image);
        let fpi_bytes = images.map(|image| image.bytes.len() as u64).sum();
        let length = u64::from(record.header.total_len);
        let one = StatsTotals { count: 1, record_bytes: length - fpi_bytes, fpi_bytes };
        let mut operation = record.header.operation();
        if record.header.rmgr == RmgrId::XACT {
            // Its highest bit says that more follows (`XLOG_XACT_OPMASK`).
            operation &= 0x70;
        }
        let at = usize::from(record.header.rmgr.0) << 4 | usize::from(operation >> 4);
        if at >= self.totals.len() {
            self.totals.resize(at + 1, StatsTotals::default());
        }
        if let Some(totals) = self.totals.get_mut(at) {
            totals.add(&one);
        }
        self.version = Some(record.version);
        self.from.get_or_insert(record.lsn);
        self.to = record.end_lsn;
        Ok(())
    }

    /// Where the first record begins and the last one ends; none without records.
    pub fn range(&self) -> Option<(Lsn, Lsn)> {
        self.from.map(|from| (from, self.to))
    }

    /// All together.
    pub fn total(&self) -> StatsTotals {
        let mut total = StatsTotals::default();
        self.totals.iter().for_each(|totals| total.add(totals));
        total
    }

    /// A row for each resource manager that occurs, in the order of their numbers.
    pub fn by_rmgr(&self) -> Vec<StatsRow> {
        let mut rows: Vec<StatsRow> = Vec::new();
        for (rmgr, _, totals) in self.occurring() {
            match rows.last_mut().filter(|row| row.rmgr == rmgr) {
                Some(row) => row.totals.add(totals),
                None => rows.push(StatsRow { rmgr, operation: None, totals: *totals }),
            }
        }
        rows
    }

    /// A row for each operation that occurs.
    pub fn by_operation(&self) -> Vec<StatsRow> {
        let rows = self.occurring().map(|(rmgr, info, totals)| {
            let name = self.version.and_then(|version| rmgr.operation_name(version, info));
            StatsRow { rmgr, operation: Some(name_or_number(name, info)), totals: *totals }
        });
        rows.collect()
    }

    fn occurring(&self) -> impl Iterator<Item = (RmgrId, u8, &StatsTotals)> {
        let all = self.totals.iter().enumerate().filter(|(_, totals)| totals.count > 0);
        all.map(|(at, totals)| (RmgrId((at >> 4) as u8), (at << 4) as u8, totals))
    }
}

/// The name of a record's operation; for one that has none, what `pg_waldump` writes instead.
pub fn operation_text(record: &Record) -> String {
    name_or_number(record.operation_name(), record.header.operation())
}

fn name_or_number(name: Option<&str>, info: u8) -> String {
    name.map_or_else(|| format!("UNKNOWN ({info:x})"), str::to_owned)
}
