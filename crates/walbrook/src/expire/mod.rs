//! What a retention policy would keep of a cluster, and what it would remove.
//!
//! [`plan_expiry`] reads a repository and makes an [`ExpiryPlan`] with
//! [`walbrook_retention`]; nothing is changed.

mod inventory;

use std::time::Duration;

use jiff::Zoned;
use serde::Serialize;
use walbrook_repo::Repository;
use walbrook_retention::{Inventory, Plan, Policy, plan, plan_removal};
use walbrook_store::StoreUrl;

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
    /// How old a backup that was not finished must be to be taken for dead. Until then it protects
    /// its base, and the WAL of its system.
    pub abandoned_after: Duration,
}

impl ExpiryOptions {
    /// How long a backup that was not finished is taken to be alive, unless said otherwise: a week.
    pub const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Of this cluster by this policy, now.
    pub fn new(repository: StoreUrl, cluster: impl Into<String>, policy: Policy) -> Self {
        Self {
            repository,
            cluster: cluster.into(),
            policy,
            now: Zoned::now(),
            only: Vec::new(),
            abandoned_after: Self::ABANDONED_AFTER,
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
/// can't be applied, or a backup that is protected.
pub async fn plan_expiry(options: &ExpiryOptions) -> Result<ExpiryPlan> {
    let repository = Repository::open(walbrook_store::open(&options.repository)?).await?;
    let cluster = repository.cluster(&options.cluster)?;
    let inventory =
        inventory::read(&cluster, options.abandoned_after, options.now.timestamp()).await?;
    let plan = if options.only.is_empty() {
        plan(&inventory, &options.policy, &options.now)
    } else {
        let ids: Vec<&str> = options.only.iter().map(BackupId::as_str).collect();
        plan_removal(&inventory, &ids, &options.policy, &options.now)
    };
    Ok(ExpiryPlan { cluster: options.cluster.clone(), inventory, plan: plan? })
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
