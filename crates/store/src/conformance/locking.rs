use std::time::{Duration, SystemTime};

use super::{Outcome, Scratch, ensure, fails};
use crate::{ErrorKind, Lock};

/// How long what is made here stays locked.
const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn locks(s: &Scratch) -> Outcome {
    let until = SystemTime::now() + MINUTE;
    let born = s.path("folder/locked");
    s.store.create_locked(&born, "first".into(), until).await?;
    let again = s.store.create_locked(&born, "other".into(), until).await;
    fails(again, ErrorKind::AlreadyExists, "creating what is there, locked")?;
    fails(s.store.create(&born, "other".into()).await, ErrorKind::AlreadyExists, "the same")?;
    let content = s.store.get(&born).await?;
    ensure(content == "first", || format!("created as \"first\", locked, read {content:?}"))?;

    let later = s.create("folder/later", "second").await?;
    let beside = s.create("folder/later2", "third").await?;
    let elsewhere = s.create("other/object", "fourth").await?;
    let never = s.path("folder/never");
    let wrong = s.path("not a path");
    let paths = [born.clone(), later, never, wrong, elsewhere, beside.clone()];
    let absent = [false, false, true, false, false, false];
    // Anew, shorter, longer, and not at all: each is no error.
    for seconds in [60, 30, 90, 60] {
        let at = SystemTime::now() + Duration::from_secs(seconds);
        let outcomes = s.store.lock(&paths, Lock { enough: at, until: at + MINUTE / 6 }).await;
        ensure(outcomes.len() == paths.len(), || {
            format!("{} outcomes for {} paths", outcomes.len(), paths.len())
        })?;
        for ((path, absent), outcome) in paths.iter().zip(absent).zip(outcomes) {
            match (absent, path.contains(' ')) {
                (true, _) => fails(outcome, ErrorKind::NotFound, "locking what is not there")?,
                (_, true) => fails(outcome, ErrorKind::InvalidPath, "locking an invalid path")?,
                _ => outcome?,
            }
        }
    }
    let none = s.store.lock(&[], Lock { enough: until, until }).await;
    ensure(none.is_empty(), || "outcomes for no paths".to_owned())?;

    // A deletion is refused, or hides what is locked.
    for path in [&born, &beside] {
        match s.store.delete(path).await {
            Ok(()) => {
                fails(s.store.get(path).await, ErrorKind::NotFound, "reading what was hidden")?
            }
            Err(e) if e.kind() == ErrorKind::PermissionDenied => drop(s.store.get(path).await?),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
