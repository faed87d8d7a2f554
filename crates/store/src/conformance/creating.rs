use futures::future::join_all;

use super::{Failure, Outcome, Scratch, ensure, fails};
use crate::{ErrorKind, Payload};

pub(super) async fn create_only(s: &Scratch) -> Outcome {
    let path = s.create("object", "first").await?;
    for content in ["other", "first", ""] {
        let outcome = s.store.create(&path, content.into()).await;
        fails(outcome, ErrorKind::AlreadyExists, "creating what is there")?;
        let content = s.store.get(&path).await?;
        ensure(content == "first", || {
            format!("a refused creation changed the object to {content:?}")
        })?;
    }
    Ok(())
}

/// Several rounds, since a race that is lost now and then is lost.
pub(super) async fn concurrent_create(s: &Scratch) -> Outcome {
    const TASKS: u8 = 16;
    const SIZE: usize = 100_000;
    for round in 0..5 {
        let path = s.path(&format!("round-{round}/new-folder/object"));
        let create = |task: u8| s.store.create(&path, Payload::from(vec![task; SIZE]));
        let outcomes = join_all((0..TASKS).map(create)).await;
        let mut won = Vec::new();
        for (task, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(()) => won.push(task),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e.into()),
            }
        }
        let [winner] = won[..] else {
            return Err(Failure::new(format!(
                "of {TASKS} creations at once these succeeded: {won:?}"
            )));
        };
        let content = s.store.get(&path).await?;
        let whole = content.len() == SIZE && content.iter().all(|b| usize::from(*b) == winner);
        ensure(whole, || format!("the object is not what creation {winner} of {TASKS} wrote"))?;
    }
    Ok(())
}

pub(super) async fn delete(s: &Scratch) -> Outcome {
    let path = s.create("folder/object", "first").await?;
    s.create("folder/object2", "stays").await?;
    s.store.delete(&path).await?;
    fails(s.store.get(&path).await, ErrorKind::NotFound, "reading what was deleted")?;
    // Again, and what never was, and a folder that is there.
    for name in ["folder/object", "never", "never/was", "folder"] {
        s.store.delete(&s.path(name)).await?;
    }
    let other = s.store.get(&s.path("folder/object2")).await?;
    ensure(other == "stays", || "deleting one object changed another".to_owned())?;
    s.create("folder/object", "second").await?;
    let content = s.store.get(&path).await?;
    ensure(content == "second", || format!("created anew as \"second\", read {content:?}"))
}

/// More than one request of those that delete many.
pub(super) async fn delete_many(s: &Scratch) -> Outcome {
    let names: Vec<String> = (0..1100).map(|n| format!("folder-{}/{n}", n % 3)).collect();
    s.create_all(&names).await?;
    s.create("folder-0/stays", "stays").await?;
    let mut paths: Vec<String> = names.iter().map(|name| s.path(name)).collect();
    // What never was, what can't be, and one twice.
    paths.insert(1, s.path("never/was"));
    paths.insert(500, s.path("not a path"));
    paths.push(paths[0].clone());
    let outcomes = s.store.delete_many(&paths).await;
    ensure(outcomes.len() == paths.len(), || {
        format!("{} outcomes for {} paths", outcomes.len(), paths.len())
    })?;
    for (path, outcome) in paths.iter().zip(outcomes) {
        match path.contains(' ') {
            true => fails(outcome, ErrorKind::InvalidPath, "deleting what can't be a path")?,
            false => outcome?,
        }
    }
    let left = super::listing::paths(s, &s.folder, None).await?;
    ensure(left == [s.path("folder-0/stays")], || format!("left are {left:?}"))?;
    let none = s.store.delete_many(&[]).await;
    ensure(none.is_empty(), || "outcomes for no paths".to_owned())
}

pub(super) async fn invalid_paths(s: &Scratch) -> Outcome {
    let long = "a".repeat(256);
    let bad = [
        "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", "a b", "a\\b", "a\0b",
        "ü", &long,
    ];
    for path in bad {
        let is = |what: &str| format!("{what} of the invalid path {path:?}");
        fails(s.store.create(path, "x".into()).await, ErrorKind::InvalidPath, &is("create"))?;
        fails(s.store.get(path).await, ErrorKind::InvalidPath, &is("get"))?;
        fails(s.store.get_range(path, 0..1).await, ErrorKind::InvalidPath, &is("get_range"))?;
        fails(s.store.get_tail(path, 1).await, ErrorKind::InvalidPath, &is("get_tail"))?;
        fails(s.store.head(path).await, ErrorKind::InvalidPath, &is("head"))?;
        fails(s.store.delete(path).await, ErrorKind::InvalidPath, &is("delete"))?;
        // The empty prefix is the whole store.
        if !path.is_empty() {
            fails(s.store.list_children(path).await, ErrorKind::InvalidPath, &is("list_children"))?;
            let listed = super::listing::paths(s, path, None).await;
            fails(listed, ErrorKind::InvalidPath, &is("list"))?;
        }
    }
    Ok(())
}
