use std::sync::Arc;

use crate::url::Place;
use crate::{LocalStore, MemoryStore, Result, Store, StoreUrl};

/// Opens the store at a location. Makes no request: what is wrong there shows at first use.
///
/// For clouds, what the options do not say comes from the environment, by the names that the clouds'
/// own tools know: `AWS_…`, `GOOGLE_…` and `AZURE_…`.
pub fn open(location: &StoreUrl) -> Result<Arc<dyn Store>> {
    Ok(match location.place() {
        Place::Directory(path) => Arc::new(LocalStore::new(path)?),
        Place::Memory => Arc::new(MemoryStore::new()),
        #[cfg(feature = "cloud")]
        Place::Bucket { scheme, bucket, prefix } if location.option("as_of").is_some() => {
            Arc::new(crate::cloud::AsOfBackend::open(location, *scheme, bucket, prefix)?)
        }
        #[cfg(feature = "cloud")]
        Place::Bucket { scheme, bucket, prefix } => {
            Arc::new(crate::cloud::ObjectStoreBackend::open(location, *scheme, bucket, prefix)?)
        }
        #[cfg(not(feature = "cloud"))]
        Place::Bucket { scheme, .. } => {
            let message = format!("this program was built without {scheme} stores");
            return Err(crate::Error::new(crate::ErrorKind::Unsupported, message)
                .with_remedy("build walbrook-store with its feature `cloud`"));
        }
    })
}
