//! Imports under names of a component's own, `(implements …)`: the entry of that name says what is
//! behind them.

use crate::support::{
    manifest,
    waft::{Up, Waft},
};

/// The entries of `named-p2`, by the names that it imports interfaces under.
const ENTRIES: [&str; 5] = [
    "{name: cache, namespace: wasi, package: keyvalue, interfaces: [store], config: {backend: in-memory}}",
    "{name: durable, namespace: wasi, package: keyvalue, interfaces: [store], config: {bucket: kept}}",
    "{name: settings, namespace: wasi, package: config, interfaces: [store], config: {color: green}}",
    // It has no name, and is of no interest to who asks by one.
    "{namespace: wasi, package: config, interfaces: [store], config: {color: blue, shape: round}}",
    "{name: jobs, namespace: wasmcloud, package: messaging, interfaces: [consumer]}",
];

/// The entry of a secret, with this key.
fn secret(key: &str) -> String {
    format!(
        "{{name: api-key, namespace: wasmcloud, package: secrets, interfaces: [secret, reveal], \
         config: {{{key}: swordfish}}}}"
    )
}

/// A WorkloadDeployment of these guests with these entries.
fn deployment(name: &str, entries: &[&str], guests: [&str; 2]) -> String {
    let image = |guest: &str| format!("file:{}", waft_guests::path(guest).display());
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| format!("        - {entry}\n"))
        .collect();
    let components = format!("{}      components:", entries.concat());
    let more = match guests[1] {
        "" => String::new(),
        guest => format!("        - {{name: other, image: \"{}\"}}\n", image(guest)),
    };
    manifest::deployment(name, &image(guests[0])).replace("      components:", &components) + &more
}

#[test]
fn each_name_has_the_backend_of_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let bare = ENTRIES[0].replace("name: cache, ", "");
    let manifests = [
        deployment("named", &ENTRIES, ["named-p2", ""]),
        deployment("composed", &ENTRIES, ["greeted-p2", "namer-p2"]),
        deployment("secret", &[&secret("api-key")], ["secret-p3", ""]),
        deployment("keyless", &[&secret("other")], ["secret-p3", ""]),
        deployment("refused", &[&bare, ENTRIES[1]], ["named-p2", ""]),
    ];
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let start = || {
        let guests = waft_guests::path("named-p2");
        let up = Up::default().arg(&file).arg("--file-root");
        up.arg(guests.parent().unwrap())
            .data(&folder.path().join("data"))
            .start()
    };
    let get = |waft: &Waft, target: &str| waft.get_ok("named.localhost", target);
    let waft = start();
    // The same bucket and key by two names are two places.
    assert_eq!(get(&waft, "/set?cache&kept&word&light"), "done");
    assert_eq!(get(&waft, "/set?durable&kept&word&heavy"), "done");
    assert_eq!(get(&waft, "/get?cache&kept&word"), "light");
    assert_eq!(get(&waft, "/get?durable&kept&word"), "heavy");
    // The name itself is an identifier of the entry's bucket, and other buckets are not granted.
    assert_eq!(get(&waft, "/get?durable&durable&word"), "heavy");
    assert_eq!(get(&waft, "/get?durable&others&word"), "Error::NoSuchStore");
    assert_eq!(get(&waft, "/config?color"), "Ok(Some(\"green\"))");
    assert_eq!(get(&waft, "/config?shape"), "Ok(None)");
    assert_eq!(get(&waft, "/publish?news.today&rain"), "done");
    // As a member of a composition it has its names too.
    assert_eq!(waft.get_ok("composed.localhost", "/Ada"), "Salut, Ada!\n");
    assert_eq!(waft.get_ok("secret.localhost", "/"), "9");
    waft.wait_for_line(&["keyless", "add the key `api-key`"]);
    waft.wait_for_line(&[
        "refused",
        "component `refused`",
        "imports `wasi:keyvalue/store@0.2.0-draft` under the name `cache`",
        "Add to spec.hostInterfaces: {name: cache, namespace: wasi, package: keyvalue",
    ]);
    waft.kill();
    let waft = start();
    assert_eq!(get(&waft, "/get?cache&kept&word"), "none");
    assert_eq!(get(&waft, "/get?durable&kept&word"), "heavy");
}

#[test]
fn the_example_keeps_its_buckets_apart() {
    let waft = Waft::up(["examples/named"]);
    let get = |target: &str| waft.get_ok("named.localhost", target);
    assert_eq!(get("/set?durable&visits&word&hello"), "done");
    assert_eq!(get("/get?durable&visits&word"), "hello");
    assert_eq!(get("/get?cache&visits&word"), "none");
    assert_eq!(get("/config?color"), "Ok(Some(\"green\"))");
    assert_eq!(get("/publish?news.today&rain"), "done");
}
