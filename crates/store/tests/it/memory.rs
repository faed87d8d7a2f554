use std::sync::Arc;

use walbrook_store::{MemoryStore, StoreUrl, conformance, open};

#[tokio::test]
async fn conforms() {
    conformance::run(Arc::new(MemoryStore::new())).await.unwrap();
}

#[tokio::test]
async fn locks() {
    conformance::run_locks(Arc::new(MemoryStore::new())).await.unwrap();
}

#[tokio::test]
async fn each_opening_is_a_store_of_its_own() {
    let url: StoreUrl = "memory:".parse().unwrap();
    let (one, other) = (open(&url).unwrap(), open(&url).unwrap());
    one.create("a", "x".into()).await.unwrap();
    assert!(other.get("a").await.is_err());
}
