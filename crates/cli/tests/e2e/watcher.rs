//! Components that watch buckets of `wasi:keyvalue`.

use waft_servers::Server;

use crate::support::{
    eventually, manifest,
    waft::{Up, Waft},
};

/// A workload of a guest with these entries.
fn with(name: &str, guest: &str, entries: &[String]) -> String {
    let image = format!("file:{}", waft_guests::path(guest).display());
    let entries: Vec<_> = entries.iter().map(|e| format!("        - {e}\n")).collect();
    let components = format!("{}      components:", entries.concat());
    manifest::deployment(name, &image).replace("      components:", &components)
}

/// The same of a guest that answers no requests.
fn without_http(name: &str, guest: &str, entries: &[String]) -> String {
    let manifest = with(name, guest, entries);
    let lines = manifest
        .lines()
        .filter(|line| !line.contains("package: http"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// An entry, with a name if there is one (`name: NAME, `), and the keys of its config.
fn entry(name: &str, interfaces: &str, config: &str) -> String {
    format!(
        "{{{name}namespace: wasi, package: keyvalue, interfaces: [{interfaces}], config: \
         {{{config}}}}}"
    )
}

/// A workload that keeps values and one that watches the bucket `numbers`, in one backend.
fn pair(backend: &str) -> String {
    let entry = |name: &str, interfaces: &str, more: &str| {
        entry(name, interfaces, &format!("{backend}{more}"))
    };
    let keeper = with(
        "keeper",
        "keyvalue-p2",
        &[entry("", "store, atomics, batch", "")],
    );
    let watcher = without_http(
        "watcher",
        "watcher-p2",
        &[
            entry("", "store, watcher", "buckets: numbers"),
            entry("name: seen, ", "store", ""),
        ],
    );
    format!("{keeper}---\n{watcher}")
}

/// `waft up` of a pair.
fn up(backend: &str, options: Up) -> Waft {
    up_of(&pair(backend), options)
}

fn up_of(manifests: &str, options: Up) -> Waft {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, manifests).unwrap();
    let guests = waft_guests::path("watcher-p2");
    let up = options.arg(&file).arg("--file-root");
    let waft = up.arg(guests.parent().unwrap()).start();
    waft.get_ok("keeper.localhost", "/keys?seen");
    waft
}

fn get(waft: &Waft, target: &str) -> String {
    waft.get_ok("keeper.localhost", target)
}

/// Changes a key until the watcher has seen it: it may not watch yet.
fn set_until_seen(waft: &Waft, value: &str) {
    eventually("the watcher is told", || {
        get(waft, &format!("/set?numbers&first&{value}"));
        match get(waft, "/get?seen&first") {
            seen if seen == value => Ok(()),
            other => Err(other),
        }
    });
}

fn sees(waft: &Waft, key: &str, value: &str) {
    eventually("the watcher has seen it", || {
        match get(waft, &format!("/get?seen&{key}")) {
            seen if seen == value => Ok(()),
            other => Err(other),
        }
    });
}

fn all_changes_are_told(waft: &Waft) {
    set_until_seen(waft, "one");
    assert_eq!(get(waft, "/add?numbers&count"), "1");
    sees(waft, "count", "1");
    get(waft, "/set?numbers&color&green");
    sees(waft, "color", "green");
    get(waft, "/delete?numbers&color");
    sees(waft, "color", "deleted");
    // Other buckets are not watched.
    get(waft, "/set?others&elsewhere&x");
    get(waft, "/set?numbers&last&x");
    sees(waft, "last", "x");
    assert_eq!(get(waft, "/get?seen&elsewhere"), "none, exists: false");
}

#[test]
fn the_example_sees_what_is_set() {
    let waft = Waft::up(["examples/watch"]);
    eventually("the watcher is told", || {
        waft.get_ok("watched.localhost", "/set?numbers&color&green");
        match waft.get_ok("watched.localhost", "/get?seen&color").as_str() {
            "green" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

#[test]
fn changes_are_told_within_the_host() {
    for backend in ["", "backend: in-memory, "] {
        all_changes_are_told(&up(backend, Up::default()));
    }
}

#[test]
fn buckets_of_several_backends_are_watched_and_kept_by_the_name_of_an_import() {
    let places = |interfaces: &str| {
        let near = "backend: in-memory, bucket: numbers";
        [
            entry("name: near, ", interfaces, near),
            entry("name: far, ", interfaces, "bucket: numbers"),
            entry("name: seen, ", "store", ""),
        ]
    };
    // Of this one it is told, and reads nothing by the handle.
    let bare = |interfaces: &str| entry("name: bare, ", interfaces, "");
    let (mut kept, mut seen) = (
        places("store, atomics, batch").to_vec(),
        places("store, watcher").to_vec(),
    );
    kept.push(bare("store"));
    seen.push(bare("watcher"));
    let keeper = with("keeper", "keyvalue-p2", &kept);
    let seer = without_http("seer", "seer-p2", &seen);
    let folder = tempfile::tempdir().unwrap();
    let options = Up::default().data(&folder.path().join("data"));
    let waft = up_of(&format!("{keeper}---\n{seer}"), options);
    for (place, key) in [("near", "moon"), ("far", "star")] {
        eventually("the watcher is told", || {
            get(&waft, &format!("/set?{place}&{key}&{place}"));
            match get(&waft, &format!("/get?seen&{key}")) {
                seen if seen == place => Ok(()),
                other => Err(other),
            }
        });
    }
    get(&waft, "/delete?far&star");
    sees(&waft, "star", "deleted");
    get(&waft, "/set?bare&rock&grey");
    sees(&waft, "rock", "Error::AccessDenied");
    assert_eq!(get(&waft, "/get?seen&moon"), "near");
}

#[test]
fn changes_in_nats_are_told_and_again_after_the_server_was_away() {
    let Some(mut nats) = Server::nats() else {
        return;
    };
    let options = Up::default().arg("--nats").arg(nats.url());
    let waft = up("backend: nats, ", options);
    all_changes_are_told(&waft);
    nats.kill();
    nats.restart();
    set_until_seen(&waft, "two");
    get(&waft, "/delete?numbers&first");
    sees(&waft, "first", "deleted");
}

#[test]
fn a_bucket_in_redis_is_not_watched_and_it_is_said() {
    let Some(redis) = Server::redis() else {
        return;
    };
    let options = Up::default().arg("--redis").arg(redis.url());
    let waft = up("backend: redis, ", options);
    waft.wait_for_line(&["watcher", "does not say which key"]);
}
