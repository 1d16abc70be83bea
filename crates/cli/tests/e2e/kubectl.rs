//! What people type at a cluster, typed at `waft up`.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
};

use crate::support::{
    eventually, http,
    kubectl::{Kubectl, Running},
    manifest,
    waft::Waft,
};

const HELLO: &str = "workloaddeployment/hello";

/// The first example, ready, and a kubectl for it.
fn hello() -> Option<(Waft, Kubectl)> {
    let waft = Waft::up(["examples/hello"]);
    let kubectl = Kubectl::new(&waft)?;
    waft.get_ok("hello.localhost", "/");
    kubectl.ok(&["wait", "--for=condition=Ready", HELLO, "--timeout=300s"]);
    Some((waft, kubectl))
}

/// Names of the pods.
fn pods(kubectl: &Kubectl) -> Vec<String> {
    let names = kubectl.ok(&["get", "pods", "-o", "name"]);
    names.lines().map(str::to_owned).collect()
}

/// Waits for this many ready pods, and gives their names.
fn wait_for_pods(kubectl: &Kubectl, count: usize) -> Vec<String> {
    eventually(&format!("{count} pods are ready"), || {
        let path = "{range .items[*]}{.metadata.name} \
                    {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let list = kubectl.ok(&["get", "pods", "-o", &format!("jsonpath={path}")]);
        if list.lines().count() == count && list.lines().all(|line| line.ends_with(" True")) {
            Ok(pods(kubectl))
        } else {
            Err(list)
        }
    })
}

/// Waits for a line on the child's stdout, which is read to its end from then on: kubectl dies of a
/// closed pipe.
fn line_of(running: &mut Running, part: &str) -> String {
    let stdout = running.0.stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains(part)));
    std::thread::spawn(move || lines.for_each(drop));
    line.unwrap_or_else(|| panic!("kubectl ended before it printed `{part}`"))
}

#[test]
fn objects_are_listed_as_tables() {
    let Some((_waft, kubectl)) = hello() else {
        return;
    };
    wait_for_pods(&kubectl, 1);
    let table = kubectl.ok(&["get", "workloaddeployments,ww,hosts,pods,nodes"]);
    for part in [
        "workloaddeployment.runtime.wasmcloud.dev/hello",
        "workload.runtime.wasmcloud.dev/hello-",
        "host.runtime.wasmcloud.dev/",
        "pod/hello-",
        "1/1",
        "Running",
        "node/",
    ] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    let wide = kubectl.ok(&["get", "pods", "-o", "wide", "-A"]);
    assert!(wide.contains("NODE"), "{wide}");
    let selected = kubectl.ok(&[
        "get",
        "pods",
        "-l",
        "runtime.wasmcloud.dev/workload-deployment=hello",
        "-o",
        "name",
    ]);
    assert_eq!(selected.lines().count(), 1, "{selected}");
    let explained = kubectl.ok(&["explain", "workloaddeployment.spec.template.spec"]);
    assert!(explained.contains("hostInterfaces"), "{explained}");
    let kinds = kubectl.ok(&["api-resources", "-o", "name"]);
    assert!(
        kinds.contains("httptriggers.control.cosmonic.io"),
        "{kinds}"
    );
}

#[test]
fn logs_are_followed() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    let pod = wait_for_pods(&kubectl, 1).remove(0);
    waft.get("hello.localhost", "/log?before");
    eventually("the log holds the line", || {
        let log = kubectl.ok(&["logs", &pod]);
        match log.contains("before") {
            true => Ok(()),
            false => Err(log),
        }
    });
    let mut following = kubectl.spawn(&["logs", "-f", "--tail=0", &pod]);
    // The stream opens some time after kubectl started: a line is logged until one arrives.
    // Where none ever does, it ends with the platform, whose log it follows.
    let reading = std::thread::spawn(move || line_of(&mut following, "after"));
    eventually("kubectl prints the line", || {
        waft.get("hello.localhost", "/log?after");
        match reading.is_finished() {
            true => Ok(()),
            false => Err("it has printed none".into()),
        }
    });
    let line = reading.join().expect("kubectl prints the line");
    assert!(!line.contains("before"), "{line}");
    let tail = kubectl.ok(&["logs", "--tail=1", "--timestamps", &pod]);
    assert_eq!(tail.lines().count(), 1, "{tail}");
    let previous = kubectl.run(&["logs", "--previous", &pod]);
    let told = "has one log for all its runs";
    assert!(previous.stderr.contains(told), "{previous:?}");
}

#[test]
fn ports_are_forwarded() {
    let Some((_waft, kubectl)) = hello() else {
        return;
    };
    let pod = wait_for_pods(&kubectl, 1).remove(0);
    let mut forward = kubectl.spawn(&["port-forward", "--address=127.0.0.1", &pod, ":80"]);
    let line = line_of(&mut forward, "Forwarding from");
    let address: SocketAddr = line
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line}"));
    for _ in 0..2 {
        let answer = http::get(address, "hello.localhost", "/").unwrap();
        assert_eq!(answer.text(), "Hello from Waft!\n");
    }
}

#[test]
fn exec_says_that_there_is_no_shell() {
    let Some((_waft, kubectl)) = hello() else {
        return;
    };
    let pod = wait_for_pods(&kubectl, 1).remove(0);
    let ended = kubectl.run(&["exec", &pod, "--", "sh"]);
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("no shell"), "{ended:?}");
}

#[test]
fn replicas_follow_scale() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    kubectl.ok(&["scale", HELLO, "--replicas=3"]);
    wait_for_pods(&kubectl, 3);
    eventually("the counts are told", || {
        let counts = kubectl.value(
            HELLO,
            "{.status.replicas.expected} {.status.replicas.ready}",
        );
        match counts.as_str() {
            "3 3" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    kubectl.ok(&["scale", HELLO, "--replicas=1"]);
    wait_for_pods(&kubectl, 1);
    assert_eq!(waft.get("hello.localhost", "/").status, 200);
    kubectl.ok(&["scale", HELLO, "--replicas=0"]);
    wait_for_pods(&kubectl, 0);
    let none = waft.get("hello.localhost", "/");
    assert_eq!(none.status, 503, "{none:?}");
}

#[test]
fn a_changed_manifest_rolls_without_a_gap() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    let first = wait_for_pods(&kubectl, 1);
    let changed = manifest::deployment_with(
        "hello",
        "file:examples/hello/hello.wasm",
        "localResources: {environment: {config: {GREETING: hi}}}",
    );
    let applied = kubectl.apply_ok(&changed);
    assert!(applied.contains("configured"), "{applied}");
    eventually("the new environment is there", || {
        let answer = waft.get("hello.localhost", "/env");
        assert_eq!(answer.status, 200, "{answer:?}");
        match answer.text().contains("GREETING=hi") {
            true => Ok(()),
            false => Err(answer.text()),
        }
    });
    // A Pod is shown a moment after its workload serves, and until then the old one may be the only one.
    let second = eventually("another pod is shown", || {
        let now = wait_for_pods(&kubectl, 1);
        (now != first)
            .then_some(now)
            .ok_or_else(|| "still the first".to_owned())
    });
    let unchanged = kubectl.apply_ok(&manifest::deployment_with(
        "hello",
        "file:examples/hello/hello.wasm",
        "localResources: {environment: {config: {GREETING: hi}}}",
    ));
    assert!(unchanged.contains("unchanged"), "{unchanged}");

    // As `kubectl rollout restart` does it.
    let patch = r#"{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}"#;
    kubectl.ok(&["patch", HELLO, "--type=merge", "-p", patch]);
    eventually("another pod takes over", || {
        assert_eq!(waft.get("hello.localhost", "/").status, 200);
        let now = pods(&kubectl);
        match now.len() == 1 && now != second {
            true => Ok(()),
            false => Err(format!("{now:?}")),
        }
    });
}

#[test]
fn a_broken_image_leaves_the_old_replica_serving() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    kubectl.apply_ok(&manifest::deployment("hello", "file:missing.wasm"));
    let waited = kubectl.run(&["wait", "--for=condition=Ready", HELLO, "--timeout=5s"]);
    assert!(
        !waited.status.success(),
        "wait passed on the old state: {waited:?}"
    );
    assert_eq!(
        waft.get("hello.localhost", "/").text(),
        "Hello from Waft!\n"
    );
    let (reason, message) = kubectl.wait_condition(HELLO, "Ready", "False");
    assert!(
        reason == "FileNotFound" || message.contains("missing.wasm"),
        "{reason}: {message}"
    );
    let described = kubectl.ok(&["describe", HELLO]);
    for part in ["missing.wasm", "Events:", "Conditions:"] {
        assert!(described.contains(part), "{part} in\n{described}");
    }
    let generations = kubectl.value(
        HELLO,
        "{.metadata.generation} {.status.conditions[?(@.type==\"Ready\")].observedGeneration}",
    );
    let (have, observed) = generations.split_once(' ').unwrap();
    assert_eq!(have, observed);

    // And back.
    kubectl.apply_ok(&manifest::deployment(
        "hello",
        "file:examples/hello/hello.wasm",
    ));
    kubectl.ok(&["wait", "--for=condition=Ready", HELLO, "--timeout=300s"]);
    assert_eq!(waft.get("hello.localhost", "/").status, 200);
}

#[test]
fn delete_leaves_nothing() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    kubectl.ok(&["delete", HELLO, "--timeout=300s"]);
    eventually("everything is gone", || {
        let left = kubectl.ok(&[
            "get",
            "workloaddeployments,workloadreplicasets,workloads,pods",
            "-o",
            "name",
        ]);
        match left.is_empty() {
            true => Ok(()),
            false => Err(left),
        }
    });
    assert_eq!(waft.get("hello.localhost", "/").status, 404);
}

#[test]
fn a_changed_config_map_rolls() {
    let Some((waft, kubectl)) = hello() else {
        return;
    };
    let map = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{COLOUR: {value}}}\n"
        )
    };
    let uses = manifest::deployment_with(
        "hello",
        "file:examples/hello/hello.wasm",
        "localResources: {environment: {configFrom: [{name: settings}], config: {COLOUR: none}}}",
    );
    kubectl.apply_ok(&uses);
    let (_, message) = kubectl.wait_condition(HELLO, "Ready", "False");
    assert!(message.contains("settings"), "{message}");
    for colour in ["red", "blue"] {
        kubectl.apply_ok(&map(colour));
        eventually(&format!("the guest sees {colour}"), || {
            let answer = waft.get("hello.localhost", "/env");
            assert_eq!(answer.status, 200, "{answer:?}");
            match answer.text().contains(&format!("COLOUR={colour}")) {
                true => Ok(()),
                false => Err(answer.text()),
            }
        });
    }
}

#[test]
fn a_stranger_is_refused() {
    let waft = Waft::up(["examples/hello"]);
    let url = format!("https://{}/api/v1/namespaces", waft.api);
    let mut curl = crate::support::waft::command("curl");
    curl.args([
        "-sk",
        "--noproxy",
        "*",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ]);
    let ended = crate::support::waft::finish(curl);
    assert_eq!(ended.stdout, "401", "{ended:?}");
}
