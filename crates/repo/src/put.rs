use walbrook_store::{ErrorKind as StoreErrorKind, Payload, Store};

use crate::{Error, ErrorKind, Result};

/// Creates an object whose name only this writer uses. A store that lost its answer to our first
/// attempt says on the second that the object exists: it is ours when it has our content.
pub(crate) async fn create_or_same(store: &dyn Store, path: &str, content: Payload) -> Result<()> {
    match store.create(path, content.clone()).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            let mut there: &[u8] = &store.get(path).await?;
            let same = content.len() == there.len() as u64
                && content.iter().all(|part| {
                    let (head, tail) = there.split_at(part.len());
                    there = tail;
                    head == part.as_ref()
                });
            if same {
                return Ok(());
            }
            let message = format!("{path} exists in {} with other content", store.location());
            Err(Error::new(ErrorKind::Conflict, message).with_source(error))
        }
        Err(error) => Err(error.into()),
    }
}
