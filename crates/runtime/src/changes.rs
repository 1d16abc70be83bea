//! One change of a bucket through `wasi:keyvalue/watcher`.

use std::{any::Any, sync::Arc};

use wasmtime::Store;

use crate::{Ctx, messages::Message};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue",
        world: "wasi:keyvalue/watching",
        imports: { default: async | trappable },
        exports: { default: async },
        with: { "wasi:keyvalue/store.bucket": super::HeldBucket },
    });
}

pub(crate) use bindings::{Watching as Watcher, WatchingIndices as Indices};

/// A bucket of `wasi:keyvalue` that a guest has a handle to. What is in it is the capability's.
#[derive(Clone)]
pub struct HeldBucket(pub Arc<dyn Any + Send + Sync>);

/// A key of a bucket that was set or deleted.
#[derive(Clone)]
pub struct Change {
    /// The bucket, to which the guest gets a handle.
    pub bucket: HeldBucket,
    /// The key.
    pub key: String,
    /// What it was set to; `None`: it was deleted.
    pub value: Option<Vec<u8>>,
}

/// What a handler of a component is given that isn't a request.
#[derive(Clone)]
pub enum Delivery {
    /// For `wasmcloud:messaging/handler`.
    Message(Arc<Message>),
    /// For `wasi:keyvalue/watcher`.
    Change(Change),
}

/// Calls the watcher of an instance.
pub(crate) async fn call(
    watcher: &Watcher,
    store: &mut Store<Ctx>,
    change: Change,
) -> wasmtime::Result<()> {
    let bucket = store.data_mut().table().push(change.bucket)?;
    let watcher = watcher.wasi_keyvalue_watcher();
    match &change.value {
        Some(value) => watcher.call_on_set(store, bucket, &change.key, value).await,
        None => watcher.call_on_delete(store, bucket, &change.key).await,
    }
}
