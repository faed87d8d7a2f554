use bytes::Bytes;
use tokio::task::JoinSet;
use walbrook_store::Payload;

use crate::backup::pack::{PackBuilder, Piece};
use crate::frame::Header;
use crate::put::create_or_same;
use crate::{BackupId, Cluster, Result, layout};

/// A pack is stored when it has grown to this size: large enough that an object store's latency
/// does not count, small enough that a few of them fit in memory.
const PACK_SIZE: usize = 32 << 20;

/// Packs that are stored at once while the next one fills.
const UPLOADS: usize = 2;

/// The packs of a backup: fills one after the other and stores them.
pub(crate) struct Packs {
    cluster: Cluster,
    backup: BackupId,
    current: PackBuilder,
    uploads: JoinSet<Result<()>>,
    stored_bytes: u64,
}

impl Packs {
    pub(crate) fn new(cluster: Cluster, backup: BackupId) -> Self {
        let current = PackBuilder::new(backup.clone(), 0, 0);
        Self { cluster, backup, current, uploads: JoinSet::new(), stored_bytes: 0 }
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes + self.current.len() as u64
    }

    /// Adds a frame; tells in which pack and where.
    pub(crate) async fn push(
        &mut self,
        header: &Header,
        stored: &[u8],
        pieces: Vec<Piece>,
    ) -> Result<(u32, u64)> {
        let full = self.current.len() + stored.len() > PACK_SIZE || self.current.index_is_full();
        if full && !self.current.is_empty() {
            self.store().await?;
        }
        let offset = self.current.push(header, stored, pieces);
        Ok((self.current.number(), offset))
    }

    /// Begins to store the current pack, once fewer than [`UPLOADS`] are being stored.
    async fn store(&mut self) -> Result<()> {
        while self.uploads.len() >= UPLOADS {
            self.wait_for_one().await?;
        }
        let next = PackBuilder::new(self.backup.clone(), self.current.number() + 1, PACK_SIZE);
        let pack = std::mem::replace(&mut self.current, next);
        let path = layout::pack(self.cluster.name(), &self.backup, pack.number());
        let bytes = Bytes::from(pack.finish());
        self.stored_bytes += bytes.len() as u64;
        let cluster = self.cluster.clone();
        self.uploads.spawn(async move {
            create_or_same(cluster.store(), &path, Payload::from(bytes)).await
        });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        match self.uploads.join_next().await {
            Some(outcome) => outcome?,
            None => Ok(()),
        }
    }

    /// Waits until every pack is durable; tells how many there are and their bytes.
    pub(crate) async fn finish(mut self) -> Result<(u32, u64)> {
        if !self.current.is_empty() {
            self.store().await?;
        }
        while !self.uploads.is_empty() {
            self.wait_for_one().await?;
        }
        Ok((self.current.number(), self.stored_bytes))
    }
}
