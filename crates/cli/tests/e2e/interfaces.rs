//! Host interfaces from manifest to guest: the examples of each, and what is said when a backend
//! is not there.

use crate::support::{
    kubectl::Kubectl,
    manifest,
    waft::{Up, Waft},
};

#[test]
fn the_keyvalue_example_counts() {
    let waft = Waft::up(["examples/keyvalue"]);
    let add = || waft.get_ok("keyvalue.localhost", "/add?numbers&visits");
    assert_eq!((add(), add()), ("1".into(), "2".into()));
    assert_eq!(waft.get_ok("keyvalue.localhost", "/keys?numbers"), "visits");
}

#[test]
fn the_messaging_example_asks_its_worker() {
    let waft = Waft::up(["examples/messaging"]);
    let ask = |target: &str| waft.get_ok("tasks.localhost", target);
    assert_eq!(ask("/ask?tasks.shout&hello"), "HELLO");
    assert_eq!(ask("/publish?tasks.shout&bye"), "published");
}

#[test]
fn the_volumes_example_reads_and_writes() {
    let waft = Waft::up(["examples/volumes"]);
    let get = |target: &str| waft.get_ok("volumes.localhost", target);
    assert_eq!(get("/read?/settings/greeting"), "hello from a ConfigMap");
    assert_eq!(get("/write?/scratch/a&1000"), "done");
    assert!(get("/size?/scratch/a&9000000").starts_with("error StorageFull"));
}

#[test]
fn the_outbound_example_reaches_what_it_is_granted() {
    let waft = Waft::up(["examples/outbound"]);
    let get = |target: &str| waft.get_ok("outbound.localhost", target);
    // Itself, because tests have no internet.
    let answer = get("/?http://outbound.localhost/?http://other.example/");
    assert_eq!(answer, "200 ErrorCode::HttpRequestDenied");
}

#[test]
fn a_backend_that_is_not_there_is_said_and_an_unknown_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = waft_guests::path("keyvalue-p2");
    let manifest = |name: &str, config: &str| {
        let entry = format!(
            "        - {{namespace: wasi, package: keyvalue, interfaces: [store, atomics, batch], \
             config: {{{config}}}}}\n      components:"
        );
        manifest::deployment(name, &format!("file:{}", image.display()))
            .replace("      components:", &entry)
    };
    let all = [
        manifest("with-redis", "backend: redis"),
        manifest("with-key", "colour: green"),
        manifest("with-folder", "backend: filesystem"),
    ];
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, all.join("---\n")).unwrap();
    let waft = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(image.parent().unwrap())
        .start();
    assert_eq!(waft.get_ok("with-redis.localhost", "/add?b&c"), "1");
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    let degraded = "jsonpath={.items[*].status.conditions[?(@.type==\"Degraded\")].reason}";
    let said = kubectl.ok(&["get", "workloads", "-o", degraded]);
    assert_eq!(said, "EmbeddedBackend");
    for (name, reason, word) in [
        ("with-key", "InvalidSpec", "`colour`"),
        ("with-folder", "NotSupportedYet", "`filesystem`"),
    ] {
        let object = format!("workloaddeployment/{name}");
        let (said, message) = kubectl.wait_condition(&object, "Ready", "False");
        assert_eq!(said, reason, "{name}: {message}");
        assert!(message.contains(word), "{name}: {message}");
    }
}
