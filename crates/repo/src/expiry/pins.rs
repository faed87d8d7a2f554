//! Pins: wishes of users to keep a backup.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use walbrook_store::{ErrorKind as StoreErrorKind, ObjectMeta};

use crate::document::{self, Document};
use crate::repository::is_absent;
use crate::{BackupId, Cluster, Error, ErrorKind, Result, layout};

/// A user's wish to keep a backup, for a time or for ever: `<cluster>/pins/<backup>/<id>.json`. A
/// backup may have several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPin {
    /// Its name: the UTC second at which it was made and a random part, as a backup's.
    pub id: BackupId,
    /// The backup.
    pub backup: BackupId,
    /// Up to when; for ever without.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Who, or what for.
    #[serde(default)]
    pub note: String,
    /// When it was made, by the clock of the machine that it was made on.
    pub created_at: Timestamp,
}

impl BackupPin {
    /// Whether it holds at this moment.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Document for BackupPin {
    const FORMAT: &'static str = "walbrook-pin";
    const VERSION: u32 = 1;
}

/// What takes a pin back where it can't be deleted: `<pin's id>.released.json` beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Release {
    pin: BackupId,
    backup: BackupId,
    released_at: Timestamp,
}

impl Document for Release {
    const FORMAT: &'static str = "walbrook-pin-release";
    const VERSION: u32 = 1;
}

const RELEASED: &str = ".released.json";

impl Cluster {
    /// The pins of each backup that has some, those included whose time is over; not those that
    /// were taken back.
    pub async fn pins(&self) -> Result<BTreeMap<BackupId, Vec<BackupPin>>> {
        let mut pins: BTreeMap<BackupId, Vec<BackupPin>> = BTreeMap::new();
        for pin in self.pins_below(&layout::pins(self.name())).await? {
            pins.entry(pin.backup.clone()).or_default().push(pin);
        }
        Ok(pins)
    }

    async fn pins_below(&self, folder: &str) -> Result<Vec<BackupPin>> {
        let objects: Vec<ObjectMeta> = self.store().list(folder, None).try_collect().await?;
        let released = |path: &str| {
            let release = path.strip_suffix(".json").map(|stem| format!("{stem}{RELEASED}"));
            release.is_some_and(|release| {
                objects.binary_search_by(|object| object.path.cmp(&release)).is_ok()
            })
        };
        let mut pins = Vec::new();
        for object in &objects {
            let path = &object.path;
            let is_pin = path.ends_with(".json") && !path.ends_with(RELEASED);
            let Some((id, backup)) = named(path).filter(|_| is_pin && !released(path)) else {
                continue;
            };
            let bytes = match self.store().get(path).await {
                Ok(bytes) => bytes,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            match document::open::<BackupPin>(path, &bytes) {
                Ok(pin) if (&pin.id, &pin.backup) == (&id, &backup) => pins.push(pin),
                Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
                // Whoever made it wanted the backup kept, for how long nobody knows.
                _ => pins.push(BackupPin {
                    id,
                    backup,
                    until: None,
                    note: format!("{path} can't be read"),
                    created_at: Timestamp::try_from(object.modified).unwrap_or_default(),
                }),
            }
        }
        Ok(pins)
    }

    /// Keeps a backup, up to a moment or for ever.
    ///
    /// [`ErrorKind::NotFound`] without such a backup; [`ErrorKind::Conflict`] when an expiry is
    /// removing it: then it may be too late, and it is not pinned.
    pub async fn pin(
        &self,
        backup: &BackupId,
        until: Option<Timestamp>,
        note: &str,
    ) -> Result<BackupPin> {
        self.backup(backup).await?;
        let created_at = Timestamp::now();
        let pin = BackupPin {
            id: BackupId::generate(created_at),
            backup: backup.clone(),
            until,
            note: note.to_owned(),
            created_at,
        };
        let path = pin_path(self, &pin);
        self.store().create(&path, document::seal(&pin)?).await?;
        // An expiry writes its mark first and looks for pins second: one of the two sees the other.
        let refused = match self.is_marked(backup).await {
            Ok(false) => self.backup(backup).await.err(),
            Ok(true) => {
                let message = format!("backup {backup} is being removed by an expiry: not pinned");
                Some(Error::new(ErrorKind::Conflict, message))
            }
            Err(error) => Some(error),
        };
        match refused {
            None => Ok(pin),
            Some(error) => {
                self.unpin_one(&pin).await?;
                Err(error)
            }
        }
    }

    async fn is_marked(&self, backup: &BackupId) -> Result<bool> {
        Ok(self.expiry_marks().await?.iter().any(|mark| mark.remove.contains(backup)))
    }

    /// Takes all pins of a backup back; tells which. They are deleted, or where the store refuses
    /// that, released by another object.
    pub async fn unpin(&self, backup: &BackupId) -> Result<Vec<BackupPin>> {
        let pins = self.pins_below(&layout::backup_pins(self.name(), backup)).await?;
        for pin in &pins {
            self.unpin_one(pin).await?;
        }
        Ok(pins)
    }

    async fn unpin_one(&self, pin: &BackupPin) -> Result<()> {
        let path = pin_path(self, pin);
        match self.store().delete(&path).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => Err(error.into()),
            Err(_) => {
                let release = Release {
                    pin: pin.id.clone(),
                    backup: pin.backup.clone(),
                    released_at: Timestamp::now(),
                };
                let path = format!("{}{RELEASED}", path.trim_end_matches(".json"));
                match self.store().create(&path, document::seal(&release)?).await {
                    Err(e) if e.kind() != StoreErrorKind::AlreadyExists => Err(e.into()),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn pin_path(cluster: &Cluster, pin: &BackupPin) -> String {
    format!("{}/{}.json", layout::backup_pins(cluster.name(), &pin.backup), pin.id)
}

/// The pin and the backup that the path of a pin names.
fn named(path: &str) -> Option<(BackupId, BackupId)> {
    let (folder, name) = path.rsplit_once('/')?;
    let backup = folder.rsplit('/').next()?.parse().ok()?;
    Some((name.strip_suffix(".json")?.parse().ok()?, backup))
}
