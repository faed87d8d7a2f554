//! What a retention policy keeps of a cluster, and removing the rest.
//!
//! [`plan_expiry`] reads a repository and makes an [`ExpiryPlan`] with
//! [`walbrook_retention`]; nothing is changed. [`expire`] carries such a plan out. [`pin`] and [`unpin`]
//! keep a backup whatever a policy says.

pub(crate) mod inventory;
mod pins;

pub use pins::{pin, unpin};

use std::time::Duration;

use jiff::{Timestamp, Zoned};
use serde::Serialize;
use walbrook_repo::{Cluster, ExpiryReport, ExpiryRequest, Repository, WalArchive, WalSpan};
use walbrook_retention::{
    Action, Inventory, Plan, Policy, WalRange, plan, plan_removal, plan_removal_even_last,
};
use walbrook_store::StoreUrl;

use crate::host::host_name;
use crate::{BackupId, Error, ErrorKind, Result};

/// How to plan an expiry.
#[derive(Debug, Clone)]
pub struct ExpiryOptions {
    /// The repository.
    pub repository: StoreUrl,
    /// The cluster's name.
    pub cluster: String,
    /// What to keep.
    pub policy: Policy,
    /// The moment, and the zone whose days, weeks, months and years count.
    pub now: Zoned,
    /// Backups to be removed by name; the policy's rules for backups then do not count.
    pub only: Vec<BackupId>,
    /// Whether `only` may name the newest backup that can be restored, and the only one.
    pub even_last: bool,
    /// How long a restore that has begun may go on reading what is removed: until then the removed
    /// backups do not exist any more, but all that they consist of does.
    pub grace: Duration,
}

impl ExpiryOptions {
    /// The grace for restores, unless said otherwise: a day.
    pub const GRACE: Duration = Duration::from_secs(24 * 3600);

    /// Of this cluster by this policy, now.
    pub fn new(repository: StoreUrl, cluster: impl Into<String>, policy: Policy) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            policy,
            now: Zoned::now(),
            only: Vec::new(),
            even_last: false,
            grace: Self::GRACE,
        }
    }
}

/// What there is, and what becomes of it.
#[derive(Debug, Clone, Serialize)]
pub struct ExpiryPlan {
    /// The cluster.
    pub cluster: String,
    /// What there is of it.
    #[serde(skip)]
    pub inventory: Inventory,
    /// Backups to be removed whose record is damaged, so that no inventory has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<BackupId>,
    /// What becomes of it.
    #[serde(flatten)]
    pub plan: Plan,
}

/// Plans what a policy keeps and removes, or the removal of backups by name. Changes nothing.
///
/// Bytes are those that a backup added when it was taken; removing it frees no more than that, and
/// less when later backups use its parts.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] without such a cluster or backup; [`ErrorKind::Invalid`] for a policy that
/// can't be applied, or a backup that is protected; [`ErrorKind::Corrupt`] when the record of a backup
/// that is not to be removed by name is damaged.
pub async fn plan_expiry(options: &ExpiryOptions) -> Result<ExpiryPlan> {
    let repository = Repository::open(walbrook_store::open(&options.repository)?).await?;
    let cluster = repository.cluster(&options.cluster)?;
    // A moment that is made up does not make anybody dead.
    let now = options.now.timestamp().min(Timestamp::now());
    let (inventory, damaged) = inventory::read(&cluster, now, &options.only).await?;
    let plan = if options.only.is_empty() {
        plan(&inventory, &options.policy, &options.now)
    } else {
        let readable = options.only.iter().filter(|id| !damaged.contains(id));
        let ids: Vec<&str> = readable.map(BackupId::as_str).collect();
        let plan = if options.even_last { plan_removal_even_last } else { plan_removal };
        plan(&inventory, &ids, &options.policy, &options.now)
    };
    Ok(ExpiryPlan { cluster: options.cluster.clone(), inventory, damaged, plan: plan? })
}

/// Carries a plan out: removes what it removes, sweeps up what earlier expiries have left for
/// restores that were under way, and the parts of backups that died.
///
/// Nothing is planned anew. What has changed since the plan was made, so that it would be wrong, is
/// found out: a backup that is pinned by now or that one under way builds on stays, with the WAL;
/// and when a backup that the plan keeps is gone nothing is done. A plan that is on hold
/// ([`Plan::holds`]) does nothing at all, for its clock may be wrong.
///
/// Killed anywhere it leaves every backup that exists whole, and the next expiry goes on. It may run
/// beside backups, restores and other expiries, on whichever machines.
///
/// # Errors
///
/// [`ErrorKind::Conflict`] when a backup that the plan keeps is gone or going; and those of the
/// repository. What the store refuses to delete is no error, but in [`ExpiryReport::refused`].
pub async fn expire(options: &ExpiryOptions, plan: &ExpiryPlan) -> Result<ExpiryReport> {
    if !plan.plan.holds.is_empty() {
        return Ok(ExpiryReport::default());
    }
    let repository = Repository::open(walbrook_store::open(&options.repository)?).await?;
    let cluster = repository.cluster(&plan.cluster)?;
    let (mut remove, mut keep) = (plan.damaged.clone(), Vec::new());
    // The oldest first.
    for decision in plan.plan.backups.iter().rev() {
        let id: BackupId = decision.backup.id.parse()?;
        match decision.action {
            Action::Remove => remove.push(id),
            Action::Keep => keep.push(id),
        }
    }
    let wal = plan.plan.wal.iter().filter(|decision| decision.action == Action::Remove);
    let request = ExpiryRequest {
        remove,
        keep,
        wal: wal.filter_map(|decision| span(&decision.range)).collect(),
        grace: options.grace,
        now: None,
        decided_for: plan.plan.now,
        host: host_name(),
    };
    let report = cluster.expire(&request).await?;
    if let Err(error) = record_runs(&cluster).await {
        tracing::warn!(%error, "which WAL there is was not written down");
    }
    Ok(report)
}

/// Writes down which WAL there is, so that the next one to ask need not list it.
async fn record_runs(cluster: &Cluster) -> Result<()> {
    for system in cluster.systems().await? {
        cluster.wal(&system).record_runs(WalArchive::RUN_AT_LEAST).await?;
    }
    Ok(())
}

/// The segments that lie wholly in a range.
fn span(range: &WalRange) -> Option<WalSpan> {
    let size = range.segment_size;
    let (first, last) = (size.segment_of(range.start), size.segment_before(range.end));
    let whole = first.start(size) == range.start && last.end(size) == range.end;
    whole.then(|| WalSpan::new(range.system, range.timeline, (first, last), size))
}

impl From<walbrook_retention::Error> for Error {
    fn from(error: walbrook_retention::Error) -> Self {
        let kind = match error.kind() {
            walbrook_retention::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string())
    }
}
