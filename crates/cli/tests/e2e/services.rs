//! Services: what a workload runs beside its components, for as long as it lives.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::support::{
    eventually, manifest,
    waft::{Up, Waft},
};

/// `- {name…}` of a WorkloadDeployment that has nothing but a service.
fn service(name: &str, guest: &str, fields: &str) -> String {
    let image = waft_guests::path(guest);
    format!(
        "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  template:
    spec:
      service: {{image: \"file:{}\", {fields}}}
",
        image.display()
    )
}

fn mode(mode: &str) -> String {
    format!("localResources: {{environment: {{config: {{MODE: {mode}, WORD: hello}}}}}}")
}

fn up(manifests: &[String]) -> Waft {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path("service-p2").parent().unwrap())
        .start()
}

/// The objects of a kind, as `waft get -o json` has them.
fn list(waft: &Waft, kind: &str) -> Vec<Value> {
    let ended = waft.cli(&["get", kind, "-o", "json"]);
    let list: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The Pod of a deployment once it meets a condition.
fn pod(waft: &Waft, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(name, || {
        let pods = list(waft, "pods");
        let prefix = format!("{name}-");
        let mut of_name = pods.into_iter().filter(|pod| {
            let name = pod["metadata"]["name"].as_str();
            name.is_some_and(|name| name.starts_with(&prefix))
        });
        let pod = of_name.next().ok_or("no pod")?;
        if wanted(&pod) {
            Ok(pod)
        } else {
            Err(pod.to_string())
        }
    })
}

#[test]
fn services_run_end_and_are_started_again() {
    let waft = up(&[
        service("sleeper", "service-p2", &mode("sleep")),
        service("sleeper-new", "service-p3", &mode("sleep")),
        service("ender", "service-p2", &mode("end")),
        service("ender-new", "service-p3", &mode("end")),
        service("once", "service-p2", &mode("panic")),
        service(
            "thrice",
            "service-p2",
            &format!("name: leaf, maxRestarts: 2, {}", mode("exit")),
        ),
    ]);
    for name in ["sleeper", "sleeper-new"] {
        waft.wait_for_line(&[name, "/service ", "service begins: sleep"]);
        let pod = pod(&waft, name, |pod| pod["status"]["phase"] == "Running");
        let container = &pod["status"]["containerStatuses"][0];
        assert_eq!(container["name"], "service", "{pod}");
        assert_eq!(container["restartCount"], 0, "{pod}");
    }
    for name in ["ender", "ender-new"] {
        let pod = pod(&waft, name, |pod| pod["status"]["phase"] == "Succeeded");
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["reason"], "Completed", "{pod}");
    }

    // It traps and may not be started again: the reason and what to look at reach the status.
    let is_exhausted = |pod: &Value| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "RestartsExhausted"
    };
    let once = pod(&waft, "once", is_exhausted);
    assert_eq!(once["status"]["containerStatuses"][0]["restartCount"], 0);
    waft.wait_for_line(&["once", "/service ", "this is for the log"]);
    // Each start has a fresh store; the count is what happened, the pauses grow.
    let thrice = pod(&waft, "thrice", is_exhausted);
    let container = &thrice["status"]["containerStatuses"][0];
    assert_eq!(
        (&container["name"], &container["restartCount"]),
        (&"leaf".into(), &2.into())
    );
    // What it printed last may still be on its way here.
    let begun = eventually("it began three times", || {
        let output = waft.output();
        let begun = output.matches("service begins: exit hello").count();
        if begun < 3 { Err(output) } else { Ok(begun) }
    });
    assert_eq!(begun, 3, "{}", waft.output());

    // The Pod may say so before its Workload does.
    eventually("the workload's status", || {
        let workloads = list(&waft, "workloads.runtime.wasmcloud.dev");
        let once = workloads.into_iter().find(|workload| {
            let name = workload["metadata"]["name"].as_str();
            name.is_some_and(|name| name.starts_with("once-"))
        });
        let conditions = once.ok_or("no workload")?["status"]["conditions"].to_string();
        let parts = [
            "RestartsExhausted",
            "service `service`",
            "`maxRestarts` is 0",
        ];
        let has_all = parts.iter().all(|part| conditions.contains(part));
        has_all.then_some(()).ok_or(conditions)
    });
    let status = status_with(&waft, "RestartsExhausted");
    assert!(!status.contains("this is for the log"), "{status}");
}

/// What `waft status` prints, once this is in it.
fn status_with(waft: &Waft, part: &str) -> String {
    eventually(&format!("`waft status` says {part}"), || {
        let status = waft.cli(&["status"]);
        let is_there = status.stdout.contains(part);
        let said = format!("{status:?}");
        is_there.then_some(status.stdout).ok_or(said)
    })
}

#[test]
fn a_new_version_whose_service_crashes_does_not_take_over() {
    let hello = waft_guests::path("hello-p2");
    let version = |fields: &str| {
        let component = format!(
            "      components: [{{name: http, image: \"file:{}\"}}]\n",
            hello.display()
        );
        service("hello", "service-p2", fields) + &component
    };
    let waft = up(&[version(&mode("sleep"))]);
    waft.get_ok("hello.default.localhost", "/");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("next.yaml");
    // One goes on crashing for as long as anybody looks, the other soon gives up.
    for (restarts, reason) in [(1000, "CrashLoopBackOff"), (2, "RestartsExhausted")] {
        let fields = format!("maxRestarts: {restarts}, {}", mode("fail"));
        std::fs::write(&file, version(&fields)).unwrap();
        let file = file.to_str().unwrap();
        let ended = waft.cli(&["apply", "--force-conflicts", "-f", file]);
        assert!(ended.status.success(), "{ended:?}");
        eventually(reason, || {
            waft.get_ok("hello.default.localhost", "/");
            let pods = list(&waft, "pods");
            let mut shown = pods.iter().map(|pod| pod["status"].to_string());
            let is_shown = shown.any(|status| status.contains(reason));
            is_shown.then_some(()).ok_or(format!("{pods:?}"))
        });
    }
    waft.get_ok("hello.default.localhost", "/");
    status_with(&waft, "RestartsExhausted");
    eventually("the crashes are told", || {
        let told = list(&waft, "events");
        let is_told = |event: &Value| event["reason"] == "CrashLoopBackOff";
        let any = told.iter().any(is_told);
        any.then_some(()).ok_or(format!("{told:?}"))
    });
}

#[test]
fn a_service_that_computes_starves_nobody_and_can_be_stopped() {
    let hello = format!("file:{}", waft_guests::path("hello-p2").display());
    let waft = up(&[
        // More of them than the machine has threads for guests; the limit of a call's processor
        // time is not theirs.
        service(
            "spinner-a",
            "service-p2",
            &format!("limits: {{cpuTime: 50ms}}, {}", mode("spin")),
        ),
        service("spinner-b", "service-p2", &mode("spin")),
        service("spinner-c", "service-p2", &mode("spin")),
        manifest::deployment("hello", &hello),
    ]);
    for name in ["spinner-a", "spinner-b", "spinner-c"] {
        waft.wait_for_line(&[name, "/service ", "service begins: spin"]);
    }
    for _ in 0..20 {
        waft.get_ok("hello.localhost", "/");
        thread::sleep(Duration::from_millis(20));
    }
    pod(&waft, "spinner-a", |pod| {
        pod["status"]["phase"] == "Running"
    });
    for name in ["spinner-a", "spinner-b", "spinner-c"] {
        let ended = waft.cli(&["get", "workloaddeployments", name, "-o", "json"]);
        assert!(ended.status.success(), "{ended:?}");
    }
    let removed = up_removed(&waft, &["spinner-a", "spinner-b", "spinner-c"]);
    assert!(removed, "{}", waft.output());
    waft.get_ok("hello.localhost", "/");
    let (status, output) = waft.interrupt();
    assert!(status.success(), "{status}\n{output}");
}

/// Deletes deployments and waits until their Pods are gone.
fn up_removed(waft: &Waft, names: &[&str]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gone.yaml");
    let texts: Vec<_> = names
        .iter()
        .map(|name| service(name, "service-p2", ""))
        .collect();
    std::fs::write(&file, texts.join("---\n")).unwrap();
    let ended = waft.cli(&["delete", "-f", file.to_str().unwrap()]);
    assert!(ended.status.success(), "{ended:?}");
    eventually("the pods are gone", || {
        let pods = list(waft, "pods");
        let left = pods.iter().filter(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            names.iter().any(|gone| name.starts_with(gone))
        });
        match left.count() {
            0 => Ok(true),
            left => Err(format!("{left} pods are left")),
        }
    })
}

#[test]
fn the_example_reaches_its_service_over_tcp_and_shares_a_volume_with_it() {
    let waft = Waft::up(["examples/service"]);
    // The first request already finds the service listening.
    assert_eq!(waft.get_ok("visits.localhost", "/a"), "visit 1 of /a\n");
    assert_eq!(waft.get_ok("visits.localhost", "/b"), "visit 1 of /b\n");
    assert_eq!(waft.get_ok("visits.localhost", "/a"), "visit 2 of /a\n");
    waft.wait_for_line(&["visits", "/counter ", "counting visits on 127.0.0.1:7000"]);
    // What the service writes into their volume, the component reads.
    assert_eq!(waft.get_ok("visits.localhost", "/journal"), "/a\n/b\n/a\n");
    // The port is no port of the machine.
    assert!(std::net::TcpStream::connect("127.0.0.1:7000").is_err());
}
