//! Watches buckets, and keeps in `wasi:keyvalue/store`, imported under the name `seen`, the value of
//! each key that was set last. It reads it by the handle that it is given. When the key is `hold`, it
//! waits until there is the key `go` in `seen`.

wit_bindgen::generate!({
    inline: "
        package waft:seer;

        world seer {
            import seen: wasi:keyvalue/store@0.2.0-draft;
            export wasi:keyvalue/watcher@0.2.0-draft;
        }
    ",
    path: ["../wit/keyvalue.wit"],
    generate_all,
});
export!(Seer);

use wasi::keyvalue::store::Bucket;

struct Seer;

impl exports::wasi::keyvalue::watcher::Guest for Seer {
    fn on_set(bucket: Bucket, key: String, _: Vec<u8>) {
        match bucket.get(&key) {
            Ok(value) => keep(&key, &value.unwrap_or_default()),
            Err(error) => keep(&key, format!("{error:?}").as_bytes()),
        }
        while key == "hold" && !is_to_go() {}
    }

    fn on_delete(_: Bucket, key: String) {
        keep(&key, b"deleted");
    }
}

fn is_to_go() -> bool {
    let found = seen::open("seen").and_then(|seen| seen.exists("go"));
    found.unwrap_or(true)
}

fn keep(key: &str, value: &[u8]) {
    if let Err(error) = seen::open("seen").and_then(|seen| seen.set(key, value)) {
        println!("{key} is not kept: {error:?}");
    }
}
