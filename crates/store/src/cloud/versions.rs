//! The versions of objects that S3 keeps (`ListObjectVersions`).
//!
//! A [`Lister`] reads a listing and gives the [`History`] of one key after the other; a history tells
//! which version counts.

use std::collections::VecDeque;
use std::time::SystemTime;

use object_store::Result;
use serde::Deserialize;

use super::requests::{Requests, Wanted, generic};

/// A version of an object, or the mark of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) size: u64,
    /// To the second.
    pub(super) modified: SystemTime,
    /// Deletes what is older; has no content.
    pub(super) marker: bool,
    latest: bool,
}

/// All versions of a key, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) key: String,
    pub(super) versions: Vec<Version>,
}

impl History {
    /// The object as it was created, when it was there at this moment: later versions that lie over it
    /// are nothing of ours, which creates an object only where there is none.
    pub(super) fn original(&self, at: Option<SystemTime>) -> Option<&Version> {
        let seen = self.seen(at);
        seen.take_while(|version| !version.marker).last()
    }

    /// The oldest version that is left of those that there were at this moment, deleted or not.
    pub(super) fn oldest(&self, at: Option<SystemTime>) -> Option<&Version> {
        self.seen(at).filter(|version| !version.marker).last()
    }

    fn seen(&self, at: Option<SystemTime>) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(move |version| at.is_none_or(|at| version.modified <= at))
    }
}

/// What a listing gives.
#[derive(Debug)]
pub(super) enum Listed {
    Key(History),
    /// Keys that begin with this, in a listing with a delimiter.
    Folder(String),
}

/// A listing under way: page after page, one key's versions together.
pub(super) struct Lister<'a> {
    requests: &'a Requests,
    prefix: String,
    delimiter: bool,
    /// Keys up to this one are passed over.
    after: Option<String>,
    /// Where the next page begins; none when there is no further one.
    next: Option<Marker>,
    first: bool,
    ready: VecDeque<Listed>,
    /// The last key of a page may have more versions on the next one.
    open: Option<History>,
}

#[derive(Debug, Default, Clone)]
struct Marker {
    key: String,
    version: String,
}

impl<'a> Lister<'a> {
    pub(super) fn new(requests: &'a Requests, prefix: String, after: Option<String>) -> Self {
        Self {
            requests,
            prefix,
            delimiter: false,
            after,
            next: Some(Marker::default()),
            first: true,
            ready: VecDeque::new(),
            open: None,
        }
    }

    /// One level only.
    pub(super) fn by_level(requests: &'a Requests, prefix: String) -> Self {
        Self { delimiter: true, ..Self::new(requests, prefix, None) }
    }

    /// The next key, or folder; those of a page may come in another order than that of their names.
    pub(super) async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            while let Some(found) = self.ready.pop_front() {
                match (&found, &self.after) {
                    (Listed::Key(found), Some(after)) if found.key <= *after => {}
                    _ => return Ok(Some(found)),
                }
            }
            match self.next.take() {
                Some(marker) => self.page(&marker).await?,
                None => match self.open.take() {
                    Some(last) => self.ready.push_back(Listed::Key(last)),
                    None => return Ok(None),
                },
            }
        }
    }

    async fn page(&mut self, marker: &Marker) -> Result<()> {
        let mut query = vec![("versions", ""), ("encoding-type", "url"), ("prefix", &*self.prefix)];
        if self.delimiter {
            query.push(("delimiter", "/"));
        }
        if !marker.key.is_empty() {
            query.push(("key-marker", &marker.key));
        }
        if !marker.version.is_empty() {
            query.push(("version-id-marker", &marker.version));
        }
        let wanted = Wanted { method: "GET", query: &query, ..Wanted::default() };
        let answer = self.requests.send(&wanted).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let page = Page::parse(&text)?;
        self.ready.extend(page.folders.into_iter().map(Listed::Folder));
        for (key, version) in page.versions {
            match &mut self.open {
                Some(open) if open.key == key => open.versions.push(version),
                open => {
                    let versions = vec![version];
                    let done = open.replace(History { key, versions });
                    self.ready.extend(done.map(Listed::Key));
                }
            }
        }
        self.next = page.next;
        // The first page may have it all; when it ends before what is wanted, the rest is skipped.
        if let (true, Some(next), Some(after)) = (self.first, &mut self.next, &self.after)
            && next.key < *after
        {
            *next = Marker { key: after.clone(), version: String::new() };
        }
        self.first = false;
        Ok(())
    }
}

struct Page {
    /// By key, and each key's newest first.
    versions: Vec<(String, Version)>,
    folders: Vec<String>,
    next: Option<Marker>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "$value", default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
enum Item {
    Version(Described),
    DeleteMarker(Described),
    CommonPrefixes(Prefix),
    IsTruncated(String),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key: String,
    version_id: String,
    #[serde(default)]
    is_latest: String,
    last_modified: String,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: String,
}

impl Page {
    fn parse(text: &str) -> Result<Self> {
        let answer: Answer = quick_xml::de::from_str(text)
            .map_err(|e| generic(format!("a list of versions can't be read: {e}").into()))?;
        let mut page = Self { versions: Vec::new(), folders: Vec::new(), next: None };
        let (mut truncated, mut next) = (false, Marker::default());
        for item in answer.items {
            match item {
                Item::Version(described) => page.versions.push(described.version(false)?),
                Item::DeleteMarker(described) => page.versions.push(described.version(true)?),
                Item::CommonPrefixes(prefix) => page.folders.push(decoded(&prefix.prefix)),
                Item::IsTruncated(text) => truncated = text.eq_ignore_ascii_case("true"),
                Item::NextKeyMarker(key) => next.key = decoded(&key),
                Item::NextVersionIdMarker(id) => next.version = id,
                Item::Other => {}
            }
        }
        // Some list the marks of deletions apart from versions.
        page.versions.sort_by(|(a, x), (b, y)| {
            a.cmp(b).then(y.latest.cmp(&x.latest)).then(y.modified.cmp(&x.modified))
        });
        if truncated {
            if next.key.is_empty() {
                let text = "a list of versions that is cut off does not say where it goes on";
                return Err(generic(text.into()));
            }
            page.next = Some(next);
        }
        Ok(page)
    }
}

impl Described {
    fn version(self, marker: bool) -> Result<(String, Version)> {
        let modified: jiff::Timestamp = self.last_modified.parse().map_err(|_| {
            let time = &self.last_modified;
            generic(format!("a list of versions has {time:?} for a time").into())
        })?;
        let latest = self.is_latest.eq_ignore_ascii_case("true");
        let version = Version {
            id: self.version_id,
            size: self.size,
            modified: modified.into(),
            marker,
            latest,
        };
        Ok((decoded(&self.key), version))
    }
}

/// Keys come as in a URL's query: what stands in for characters that XML can't have.
fn decoded(key: &str) -> String {
    url::form_urlencoded::parse(key.as_bytes())
        .next()
        .filter(|(_, value)| value.is_empty() && !key.contains(['=', '&']))
        .map_or_else(|| key.to_owned(), |(key, _)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>bucket</Name><Prefix>p/</Prefix><KeyMarker></KeyMarker><MaxKeys>1000</MaxKeys>
  <IsTruncated>true</IsTruncated><NextKeyMarker>p/b%2Bc</NextKeyMarker>
  <NextVersionIdMarker>x+/=</NextVersionIdMarker>
  <DeleteMarker><Key>p/a</Key><VersionId>3</VersionId><IsLatest>true</IsLatest>
    <LastModified>2026-11-22T14:00:02.000Z</LastModified><Owner><ID>o</ID></Owner></DeleteMarker>
  <Version><Key>p/a</Key><VersionId>2</VersionId><IsLatest>false</IsLatest>
    <LastModified>2026-11-22T14:00:02.000Z</LastModified><ETag>&quot;9b2c&quot;</ETag><Size>5</Size>
    <Owner><ID>o</ID><DisplayName>n</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Version>
  <Version><Key>p/a</Key><VersionId>1</VersionId><IsLatest>false</IsLatest>
    <LastModified>2026-11-22T14:00:00.000Z</LastModified><ETag>&quot;9b2c&quot;</ETag><Size>7</Size></Version>
  <Version><Key>p/b%2Bc</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>
    <LastModified>2026-11-22T14:00:00.000Z</LastModified><ETag>&quot;9b2c&quot;</ETag><Size>0</Size></Version>
  <CommonPrefixes><Prefix>p/folder/</Prefix></CommonPrefixes>
</ListVersionsResult>"#;

    fn at(second: i64) -> Option<SystemTime> {
        let base: jiff::Timestamp = "2026-11-22T14:00:00Z".parse().unwrap();
        Some(jiff::Timestamp::from_second(base.as_second() + second).unwrap().into())
    }

    #[test]
    fn a_page() {
        let page = Page::parse(LISTING).unwrap();
        assert_eq!(page.folders, ["p/folder/"]);
        let next = page.next.unwrap();
        assert_eq!((next.key.as_str(), next.version.as_str()), ("p/b+c", "x+/="));
        let ids: Vec<_> = page.versions.iter().map(|(key, v)| (&**key, &*v.id, v.size)).collect();
        assert_eq!(ids, [("p/a", "3", 0), ("p/a", "2", 5), ("p/a", "1", 7), ("p/b+c", "null", 0)]);
        for wrong in ["", "<a>", "<A><IsTruncated>true</IsTruncated></A>"] {
            assert!(Page::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn damaged_pages_are_errors_at_worst() {
        for at in 0..LISTING.len() {
            let cut = String::from_utf8_lossy(&LISTING.as_bytes()[..at]).into_owned();
            assert!(Page::parse(&cut).is_err(), "{cut}");
            for other in [b'<', b'>', b'&', b'/', b'x', 0] {
                let mut bytes = LISTING.as_bytes().to_vec();
                bytes[at] = other;
                let _ = Page::parse(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn which_version_counts() {
        let page = Page::parse(LISTING).unwrap();
        let versions: Vec<Version> =
            page.versions.into_iter().filter(|(key, _)| key == "p/a").map(|(_, v)| v).collect();
        let mut history = History { key: "p/a".to_owned(), versions };
        let id = |version: Option<&Version>| version.map(|v| v.id.clone());
        // Created, replaced and deleted two seconds later.
        assert_eq!(id(history.original(at(-1))), None);
        assert_eq!(id(history.original(at(1))), Some("1".into()));
        assert_eq!(id(history.original(at(2))), None);
        assert_eq!(id(history.oldest(at(2))), Some("1".into()));
        // Created anew afterwards.
        let newer = Version { id: "4".into(), marker: false, ..history.versions[0].clone() };
        history.versions.insert(0, newer);
        assert_eq!(id(history.original(None)), Some("4".into()));
        assert_eq!(id(history.oldest(None)), Some("1".into()));
    }
}
