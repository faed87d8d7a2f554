//! Object locks of S3: on creation by headers, later by `PutObjectRetention` on a version.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use md5::{Digest, Md5};

use super::requests::Wanted;
use super::versions::{History, Listed, Lister};
use super::{ObjectStoreBackend, build};
use crate::{Error, ErrorKind, Lock, Payload, Result, Scheme};

/// Locks that are looked at, or set, at once.
const LOCKS: usize = 16;

/// A moment as S3 writes it, and not before it.
pub(super) fn date(at: SystemTime) -> Result<String> {
    let whole = at.checked_add(Duration::from_nanos(999_999_999));
    whole
        .and_then(|at| Timestamp::try_from(at).ok())
        .and_then(|at| Timestamp::from_second(at.as_second()).ok())
        .map(|at| at.to_string())
        .ok_or_else(|| Error::new(ErrorKind::Other, "the lock ends after the end of calendars"))
}

impl ObjectStoreBackend {
    pub(super) async fn try_create_locked(
        &self,
        path: &str,
        content: Payload,
        until: SystemTime,
    ) -> Result<()> {
        self.only_s3()?;
        let client = self.locking(&date(until)?)?;
        self.create_by(&client, path, content).await.map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied => e.with_remedy(
                "check that s3:PutObject and s3:PutObjectRetention are allowed, and so long a lock",
            ),
            _ => e,
        })
    }

    /// The client whose creations are locked until this date: one at a time, for the date changes
    /// seldom.
    fn locking(&self, until: &str) -> Result<std::sync::Arc<dyn object_store::ObjectStore>> {
        let mut kept = self.locking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((date, client)) = &*kept
            && date == until
        {
            return Ok(client.clone());
        }
        let client = build::locking_client(&self.url, &self.bucket, until, &self.classifier)?;
        *kept = Some((until.to_owned(), client.clone()));
        Ok(client)
    }

    fn only_s3(&self) -> Result<()> {
        if self.scheme == Scheme::S3 {
            return Ok(());
        }
        let message = format!("locks of objects in {} stores are not implemented", self.scheme);
        Err(Error::new(ErrorKind::Unsupported, message).with_remedy(
            "set a retention policy of the whole bucket there, and do without --lock-until",
        ))
    }

    pub(super) async fn try_lock(&self, paths: &[String], lock: Lock) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(paths.len());
        let folder = |path: &str| path.rfind('/').map_or(0, |at| at + 1);
        // Those of one folder have their versions listed together.
        for group in paths.chunk_by(|a, b| a[..folder(a)] == b[..folder(b)]) {
            match self.histories(group).await {
                Ok(histories) => {
                    let locks: Vec<_> = group
                        .iter()
                        .map(|path| self.lock_one(path, histories.get(path.as_str()), lock))
                        .collect();
                    let locked = stream::iter(locks).buffered(LOCKS).collect::<Vec<_>>().await;
                    outcomes.extend(locked.into_iter().map(|outcome| outcome.map_err(advise)));
                }
                Err(e) => {
                    // The same for each, as far as an error can be told twice.
                    let e = advise(e);
                    let (kind, text) = (e.kind(), e.to_string());
                    let again = || Error::new(kind, text.clone()).with_remedy("");
                    outcomes.extend(group.iter().skip(1).map(|_| Err(again())));
                    outcomes.push(Err(e));
                }
            }
        }
        outcomes
    }

    /// The versions of objects of one folder, by their paths.
    async fn histories<'a>(&self, group: &'a [String]) -> Result<BTreeMap<&'a str, History>> {
        self.only_s3()?;
        let requests = self.requests()?;
        let key = |path: &'a String| Some((self.key(path).ok()?.as_ref().to_owned(), &**path));
        let keys: BTreeMap<String, &str> = group.iter().filter_map(key).collect();
        let (Some((first, _)), Some((last, _))) = (keys.first_key_value(), keys.last_key_value())
        else {
            return Ok(BTreeMap::new());
        };
        let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        // The key before the first: listings begin behind a key.
        let before = first[..first.len() - 1].to_owned();
        let mut lister = Lister::new(requests, first[..common].to_owned(), Some(before));
        let mut found = BTreeMap::new();
        while let Some(listed) = lister.next().await.map_err(|e| self.classifier.error(e))? {
            let Listed::Key(history) = listed else { continue };
            if history.key > *last {
                break;
            }
            if let Some(path) = keys.get(&history.key) {
                found.insert(*path, history);
            }
        }
        Ok(found)
    }

    async fn lock_one(&self, path: &str, history: Option<&History>, lock: Lock) -> Result<()> {
        self.key(path)?;
        let absent = || Error::new(ErrorKind::NotFound, "");
        let history = history.ok_or_else(absent)?;
        // As it was created; and as it was created anew, if it was deleted in between.
        let oldest = history.oldest(None).ok_or_else(absent)?;
        self.lock_version(path, &oldest.id, lock).await?;
        match history.original(None) {
            None => Err(Error::new(ErrorKind::NotFound, "somebody has deleted it")
                .with_remedy("the option as_of reads what there was before")),
            Some(anew) if anew.id != oldest.id => {
                self.lock_version(path, &anew.id, lock).await?;
                Err(Error::new(ErrorKind::Tampered, ""))
            }
            Some(_) if history.versions.len() > 1 => Err(Error::new(ErrorKind::Tampered, "")),
            Some(_) => Ok(()),
        }
    }

    /// Locks a version unless it is locked for long enough.
    async fn lock_version(&self, path: &str, version: &str, lock: Lock) -> Result<()> {
        let requests = self.requests()?;
        let key = self.key(path)?;
        // In a bucket without versions there are no locks either, as the request to set one tells.
        let version = (version != "null").then_some(("versionId", version));
        let query = version.as_slice();
        let head = Wanted { method: "HEAD", key: key.as_ref(), query, ..Wanted::default() };
        let answer = requests.send(&head).await.map_err(|e| self.classifier.error(e))?;
        let there: Option<SystemTime> = answer
            .header("x-amz-object-lock-retain-until-date")
            .and_then(|date| date.parse::<Timestamp>().ok())
            .map(SystemTime::from);
        let mode = answer.header("x-amz-object-lock-mode").unwrap_or_default();
        let wanted = build::lock_mode(&self.url);
        let strict = mode == "COMPLIANCE" || wanted == mode;
        if strict && there.is_some_and(|until| until >= lock.enough) {
            return Ok(());
        }
        // Never shorter, and never from the stricter mode to the other.
        let until = date(there.map_or(lock.until, |there| there.max(lock.until)))?;
        let mode = if mode == "COMPLIANCE" { mode } else { wanted };
        let body: Bytes = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        )
        .into();
        let digest = md5_base64(&body);
        let query: Vec<_> = [("retention", "")].into_iter().chain(version).collect();
        let put = Wanted {
            method: "PUT",
            key: key.as_ref(),
            query: &query,
            headers: &[("content-md5", &digest), ("content-type", "application/xml")],
            body,
        };
        requests.send(&put).await.map_err(|e| self.classifier.error(e))?;
        Ok(())
    }
}

/// What has to be allowed for locks, beside what creating and reading need.
fn advise(e: Error) -> Error {
    match e.kind() {
        ErrorKind::PermissionDenied => e.with_remedy(
            "check that s3:ListBucketVersions, s3:GetObjectVersion, s3:GetObjectRetention and \
             s3:PutObjectRetention are allowed, and so long a lock; what is locked in governance mode \
             gets compliance mode only with s3:BypassGovernanceRetention",
        ),
        _ => e,
    }
}

/// The checksum without which S3 changes no lock.
fn md5_base64(body: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Md5::digest(body);
    let mut text = String::with_capacity(24);
    for three in digest.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_as_rfc_1864_has_them() {
        // Of RFC 1864's kind: the MD5 of nothing and of "abc" (RFC 1321), in base64.
        assert_eq!(md5_base64(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(md5_base64(b"abc"), "kAFQmDzST7DWlj99KOF/cg==");
    }

    #[test]
    fn dates_are_never_earlier() {
        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::new(1_795_000_000, nanos);
        assert_eq!(date(at(0)).unwrap(), "2026-11-18T11:06:40Z");
        assert_eq!(date(at(1)).unwrap(), "2026-11-18T11:06:41Z");
        assert_eq!(date(at(999_999_999)).unwrap(), "2026-11-18T11:06:41Z");
    }
}
