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
