//! Watches buckets: writes a line for each change, and keeps in the bucket `seen` what was set last of
//! each key, or `deleted`.

wit_bindgen::generate!({ path: "../wit/keyvalue.wit", world: "watching" });
export!(Watcher);

use wasi::keyvalue::store::{self, Bucket};

struct Watcher;

impl exports::wasi::keyvalue::watcher::Guest for Watcher {
    fn on_set(bucket: Bucket, key: String, value: Vec<u8>) {
        println!("{key} set, exists: {:?}", bucket.exists(&key));
        keep(&key, &value);
    }

    fn on_delete(bucket: Bucket, key: String) {
        println!("{key} deleted, exists: {:?}", bucket.exists(&key));
        keep(&key, b"deleted");
    }
}

fn keep(key: &str, value: &[u8]) {
    let kept = store::open("seen").and_then(|seen| seen.set(key, value));
    if let Err(error) = kept {
        println!("{key} is not kept: {error:?}");
    }
}
