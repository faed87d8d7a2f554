//! Every operation can be spawned on a runtime with several threads: its future is `Send`.

use walbrook::wal_reader::{ReadOptions, Restorable, WalReader, find_gaps};
use walbrook::{
    BackupId, BackupOptions, ExpiryOptions, ExpiryPlan, FetchOptions, Progress, PushOptions,
    RestoreOptions, RestorePlan, StoreUrl,
};

fn check<F: Future + Send>(_: F) {}

/// That it compiles is the test.
#[allow(dead_code, clippy::too_many_arguments, reason = "one of each thing that is asked for")]
fn all(
    (url, id, progress): (&StoreUrl, &BackupId, &dyn Progress),
    (backup, restore, plan): (&BackupOptions, &RestoreOptions, &RestorePlan),
    (push, fetch): (&PushOptions, &FetchOptions),
    (expiry, expiry_plan): (&ExpiryOptions, &ExpiryPlan),
    (read, reader): (&ReadOptions, &mut WalReader),
) {
    check(walbrook::backup(backup, progress));
    check(walbrook::plan_restore(restore));
    check(plan.execute(progress));
    check(walbrook::push(push));
    check(walbrook::fetch(fetch));
    check(walbrook::prefetch(fetch));
    check(walbrook::list(url, None));
    check(walbrook::measure(url, &mut []));
    check(walbrook::plan_expiry(expiry));
    check(walbrook::expire(expiry, expiry_plan));
    check(walbrook::pin(url, "", id, None, ""));
    check(walbrook::unpin(url, "", id));
    check(find_gaps(url, None));
    check(WalReader::open(read));
    check(reader.next());
    check(Restorable::open(url, "", walbrook::types::TimelineId::FIRST));
}
