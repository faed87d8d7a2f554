use futures::stream::TryStreamExt;

use super::{Failure, Outcome, Scratch, ensure};
use crate::Result;

/// More than one page of any service.
const MANY: usize = 1_100;

pub(super) async fn paths(s: &Scratch, prefix: &str, after: Option<&str>) -> Result<Vec<String>> {
    s.store.list(prefix, after).map_ok(|meta| meta.path).try_collect().await
}

async fn check(s: &Scratch, prefix: &str, after: Option<&str>, all: &[String]) -> Outcome {
    let below = format!("{prefix}/");
    let expected: Vec<_> = all
        .iter()
        .filter(|path| path.starts_with(&below) && after.is_none_or(|after| path.as_str() > after))
        .cloned()
        .collect();
    let found = paths(s, prefix, after).await?;
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    Err(Failure::new(format!(
        "list of {prefix} after {after:?} gave {} objects, not {}; at {at} {:?}, not {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at)
    )))
}

pub(super) async fn order(s: &Scratch) -> Outcome {
    // '-' and '.' come before '/', digits and letters after it: in the order of paths, folders do
    // not stand where the names of their entries would.
    let names = [
        "a/1",
        "a/10",
        "a/2",
        "a/b/c/d",
        "a-b",
        "a-b/x",
        "a.b",
        "a.b/x",
        "a0",
        "a_b",
        "A",
        "B/x",
        "Z",
        "_",
        "b",
        "aa/x",
        "a/b-c",
        "a/b0",
        "zz/y/x/w/v",
    ];
    // What is an object can't be a folder as well.
    let names: Vec<String> = names
        .iter()
        .filter(|name| !names.iter().any(|other| other.starts_with(&format!("{name}/"))))
        .map(|name| (*name).to_owned())
        .collect();
    s.create_all(&names).await?;
    let mut all: Vec<_> = names.iter().map(|name| s.path(name)).collect();
    all.sort();
    for prefix in ["", "/a", "/a/b", "/zz/y", "/nothing", "/a/1"] {
        check(s, &format!("{}{prefix}", s.folder), None, &all).await?;
    }
    let elsewhere = ["", "a", "a/", "a/b", "a/b/", "a/b/c/d", "a-", "a.b/x0", "b", "~", "a/1", "0"];
    for after in elsewhere.map(|name| s.path(name)).iter().chain(&all) {
        check(s, &s.folder, Some(after), &all).await?;
        check(s, &s.path("a"), Some(after), &all).await?;
    }
    // Before and after all of the folder.
    check(s, &s.folder, Some("0"), &all).await?;
    check(s, &s.folder, Some("zzzz"), &all).await?;
    for found in s.store.list(&s.folder, None).try_collect::<Vec<_>>().await? {
        // Each object holds its own name.
        let size = (found.path.len() - s.folder.len() - 1) as u64;
        ensure(found.size == size, || format!("{found:?} is listed, which has {size} bytes"))?;
    }
    Ok(())
}

pub(super) async fn many(s: &Scratch) -> Outcome {
    let mut names: Vec<_> = (0..MANY).map(|n| format!("wal/{:02X}/{n:05}", n % 3)).collect();
    s.create_all(&names).await?;
    names.sort();
    let all: Vec<_> = names.iter().map(|name| s.path(name)).collect();
    check(s, &s.folder, None, &all).await?;
    for at in [0, 1, MANY / 2, MANY - 2, MANY - 1] {
        check(s, &s.folder, Some(&all[at]), &all).await?;
        check(s, &s.path("wal"), Some(&all[at]), &all).await?;
    }
    let children = s.store.list_children(&s.path("wal/00")).await?;
    let expected: Vec<_> = all.iter().filter(|path| path.starts_with(&s.path("wal/00/"))).collect();
    ensure(
        children.folders.is_empty() && children.objects.iter().map(|o| &o.path).eq(expected),
        || format!("a folder of many objects has {} in one level", children.objects.len()),
    )
}

pub(super) async fn children(s: &Scratch) -> Outcome {
    let names =
        ["x/b/1", "x/b/2", "x/a-b/deep/er/1", "x/a/1", "x/object", "x/an-object", "x/c.d/1", "y/z"];
    s.create_all(&names.map(str::to_owned)).await?;
    expect(s, "x", &["x/a", "x/a-b", "x/b", "x/c.d"], &["x/an-object", "x/object"]).await?;
    expect(s, "x/b", &[], &["x/b/1", "x/b/2"]).await?;
    expect(s, "x/a-b", &["x/a-b/deep"], &[]).await?;
    expect(s, "nothing", &[], &[]).await?;
    expect(s, "x/object", &[], &[]).await?;
    let (root, _) = s.folder.split_once('/').unwrap_or((&s.folder, ""));
    let top = s.store.list_children("").await?;
    ensure(top.folders.iter().any(|folder| folder == root), || {
        format!("the whole store does not show the folder {root}")
    })?;
    // A folder is there while it has an object.
    s.store.delete(&s.path("x/a-b/deep/er/1")).await?;
    expect(s, "x", &["x/a", "x/b", "x/c.d"], &["x/an-object", "x/object"]).await
}

async fn expect(s: &Scratch, folder: &str, folders: &[&str], objects: &[&str]) -> Outcome {
    let found = s.store.list_children(&s.path(folder)).await?;
    let paths = |names: &[&str]| names.iter().map(|name| s.path(name)).collect::<Vec<_>>();
    let good = found.folders == paths(folders)
        && found.objects.iter().map(|object| object.path.clone()).eq(paths(objects));
    ensure(good, || format!("one level of {folder} is {found:?}, not {folders:?} and {objects:?}"))
}
