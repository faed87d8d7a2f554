//! Restoring: first a [`RestorePlan`], which only reads, then its
//! [`execute`](RestorePlan::execute).

mod choose;
mod directory;
mod execute;
mod files;
mod locate;
mod manifest;
mod options;
mod plan;
mod scan;
mod settings;
mod target;

pub use execute::RestoreReport;
pub use options::RestoreOptions;
pub use plan::{RestorePlan, TablespacePlan, plan_restore};
pub use target::{Target, TargetAction, TargetTimeline};
