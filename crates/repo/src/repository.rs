use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use walbrook_store::{Payload, Store};

use crate::document::{self, Document};
use crate::id::random;
use crate::{Cluster, Error, ErrorKind, Result, layout};

/// What `walbrook.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RepositoryDocument {
    /// Random; tells one repository from another, and from a copy made by hand of another.
    id: String,
    created_at: Timestamp,
    /// Reserved for encryption; a version that finds keys here must understand them.
    #[serde(default)]
    keys: Vec<serde_json::Value>,
}

impl Document for RepositoryDocument {
    const FORMAT: &'static str = "walbrook-repository";
    const VERSION: u32 = 1;
}

/// An open repository: a [`Store`] that holds a `walbrook.json` of a version that this code knows.
///
/// Cheap to clone. A repository holds [`Cluster`]s by name.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Arc<dyn Store>,
    id: Arc<str>,
}

impl Repository {
    /// Opens the repository in `store`. [`ErrorKind::NotFound`] when there is none.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self> {
        let bytes = match store.get(layout::REPOSITORY).await {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => {
                let message = format!(
                    "there is no Walbrook repository at {}: check the address; the first backup \
                     (walbrook-backup) creates one",
                    store.location()
                );
                return Err(Error::new(ErrorKind::NotFound, message).with_source(error));
            }
            Err(error) => return Err(error.into()),
        };
        let document: RepositoryDocument = document::open(layout::REPOSITORY, &bytes)?;
        if !document.keys.is_empty() {
            let message = format!(
                "the repository at {} is encrypted, which this Walbrook does not know: use a \
                 newer one",
                store.location()
            );
            return Err(Error::new(ErrorKind::UnsupportedVersion, message));
        }
        Ok(Self { store, id: document.id.into() })
    }

    /// Opens the repository in `store`, and creates it first when there is none. Of several that
    /// create it at once, one succeeds and all open the same.
    pub async fn open_or_create(store: Arc<dyn Store>) -> Result<Self> {
        match Self::open(store.clone()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let document = RepositoryDocument {
            id: format!("{:016x}{:016x}", random(), random()),
            created_at: Timestamp::now(),
            keys: Vec::new(),
        };
        let content = document::seal(&document)?;
        if create_once(store.as_ref(), content.clone()).await? {
            // Everything rests on objects that are never overwritten. A service that passes over
            // the condition would show only when it is too late, so it is tried here.
            if create_once(store.as_ref(), content).await? {
                let message = format!(
                    "{} lets an object be created that exists already: no repository can be safe \
                     there; use a store that honours conditional writes",
                    store.location()
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Self::open(store).await
    }

    /// Its random identifier.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The store that holds it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The cluster of this name. It need not exist yet: [`Cluster::systems`] tells.
    pub fn cluster(&self, name: &str) -> Result<Cluster> {
        layout::check_cluster_name(name)?;
        Ok(Cluster::new(self.clone(), name))
    }

    /// The names of the clusters that have something in this repository, in order.
    pub async fn clusters(&self) -> Result<Vec<String>> {
        let children = self.store.list_children("").await?;
        Ok(children.folders.into_iter().filter(|n| layout::check_cluster_name(n).is_ok()).collect())
    }
}

/// Creates the repository's description; false when there is one.
async fn create_once(store: &dyn Store, content: Payload) -> Result<bool> {
    match store.create(layout::REPOSITORY, content).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == walbrook_store::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error says that the object, or the whole store, is not there.
pub(crate) fn is_absent(error: &walbrook_store::Error) -> bool {
    use walbrook_store::ErrorKind::{NotFound, StoreMissing};
    matches!(error.kind(), NotFound | StoreMissing)
}
