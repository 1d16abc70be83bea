//! Guests that trap, loop and grow: each gets its own answer, and its neighbour none of it.

use std::{thread, time::Duration};

use crate::support::{http, manifest, waft::Up};

fn guest(name: &str, component: &str) -> String {
    let image = format!("file:{}", waft_guests::path(name).display());
    manifest::deployment_with(name, &image, component)
}

#[test]
fn a_hostile_guest_harms_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = [
        guest("hello-p2", "poolSize: 2"),
        guest("trap-p2", "poolSize: 2"),
        guest("spin-p2", "limits: {cpuTime: 1s, requestTimeout: 10s}"),
        guest("grow-p2", "localResources: {memoryLimitMb: 32}"),
    ]
    .join("---\n");
    let file = folder.path().join("guests.yaml");
    std::fs::write(&file, manifests).unwrap();
    let waft = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path("hello-p2").parent().unwrap())
        .start();
    for name in ["trap-p2", "spin-p2", "grow-p2"] {
        assert_eq!(waft.get_ok(&format!("{name}.localhost"), "/ok"), "ok\n");
    }
    waft.get_ok("hello-p2.localhost", "/");

    let address = waft.http;
    let spinning = thread::spawn(move || http::get(address, "spin-p2.localhost", "/"));
    // The loop takes one second of one core; the neighbour answers meanwhile.
    while !spinning.is_finished() {
        let answer = waft.get("hello-p2.localhost", "/");
        assert_eq!(answer.status, 200, "{answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
    let answer = spinning.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.reason()), (500, Some("CpuTime")));

    let answer = waft.get("trap-p2.localhost", "/panic");
    assert_eq!((answer.status, answer.reason()), (500, Some("Trap")));
    assert!(!answer.text().contains("for the log"), "{answer:?}");
    waft.wait_for_line(&["trap-p2/trap-p2", "for the log"]);

    let answer = waft.get("grow-p2.localhost", "/");
    assert_eq!((answer.status, answer.reason()), (500, Some("MemoryLimit")));
    let refused: u32 = waft
        .get_ok("grow-p2.localhost", "/refused")
        .trim()
        .parse()
        .unwrap();
    assert!((16..=32).contains(&refused), "{refused} MiB of 32");

    for name in ["trap-p2", "spin-p2", "grow-p2"] {
        assert_eq!(waft.get_ok(&format!("{name}.localhost"), "/ok"), "ok\n");
    }
    assert_eq!(waft.get("hello-p2.localhost", "/").status, 200);
}

#[test]
fn a_worker_and_the_component_beside_it_keep_their_own_time() {
    let file_of = |guest: &str| waft_guests::path(guest).display().to_string();
    // Of the trigger, of the component that answers, and of the worker.
    let trigger = |name: &str, timeout: &str, http: &str, worker: &str| {
        format!(
            "\
apiVersion: control.cosmonic.io/v1alpha1
kind: HTTPTrigger
metadata: {{name: {name}}}
spec:
  timeout: {timeout}
  ingress: {{host: {name}.localhost}}
  template:
    spec:
      hostInterfaces:
        - {{namespace: wasmcloud, package: messaging, version: 0.2.0, interfaces: [consumer, handler], config: {{subscriptions: {name}}}}}
      components:
        - {{name: http, image: \"file:{}\", limits: {{{http}}}}}
        - {{name: worker, image: \"file:{}\", limits: {{requestTimeout: {worker}}}}}
",
            file_of("probe-p2"),
            file_of("worker"),
        )
    };
    let manifests = [
        trigger("patient", "300s", "", "10ms"),
        trigger("hurried", "300s", "requestTimeout: 100ms", "10m"),
        trigger("hurried-too", "300s", "requestTimeout: 100ms", "0s"),
        trigger("longer", "100ms", "requestTimeout: 1m", "10ms"),
        trigger("of-trigger", "100ms", "", "1m"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("times.yaml");
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let waft = Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path("probe-p2").parent().unwrap())
        .start();
    for name in ["patient", "longer"] {
        waft.get_ok(&format!("{name}.localhost"), "/");
        let answer = waft.get(&format!("{name}.localhost"), "/sleep?1000");
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    for name in ["hurried", "hurried-too", "of-trigger"] {
        waft.get_ok(&format!("{name}.localhost"), "/");
        let answer = waft.get(&format!("{name}.localhost"), "/sleep?600000");
        let told = (answer.status, answer.reason());
        assert_eq!(told, (504, Some("Deadline")), "{name}");
    }
}
