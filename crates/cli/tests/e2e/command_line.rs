//! The commands beside `waft up`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use crate::support::{
    eventually, manifest,
    waft::{self, Up, Waft},
};

#[test]
fn crds_are_printed() {
    let ended = waft::run(&["crds"]);
    assert!(ended.status.success(), "{ended:?}");
    for name in [
        "artifacts.runtime.wasmcloud.dev",
        "hosts.runtime.wasmcloud.dev",
        "workloads.runtime.wasmcloud.dev",
        "workloadreplicasets.runtime.wasmcloud.dev",
        "workloaddeployments.runtime.wasmcloud.dev",
        "httptriggers.control.cosmonic.io",
        "hostgroups.k8s.cosmonic.io",
    ] {
        let line = format!("name: {name}");
        assert!(ended.stdout.contains(&line), "no {line}");
    }
}

#[test]
fn version_and_completion_are_printed() {
    let version = waft::run(&["version"]);
    assert!(version.status.success(), "{version:?}");
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let ended = waft::run(&["completion", shell]);
        assert!(ended.status.success(), "{ended:?}");
        assert!(ended.stdout.contains("waft"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        &["up", "--no-such-flag"][..],
        &["no-such-command"],
        &["up", "--http", "nowhere"],
        &["completion", "tcsh9"],
    ] {
        let ended = waft::run(args);
        assert_eq!(ended.status.code(), Some(2), "{args:?} {ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
}

#[test]
fn without_a_cluster_commands_say_where_they_looked() {
    let mut command = waft::command(waft::WAFT);
    command
        .args(["get", "workloads"])
        .env("KUBECONFIG", "/nonexistent/kubeconfig");
    let ended = waft::finish(command);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("$KUBECONFIG"), "{ended:?}");
}

#[test]
fn objects_are_managed_without_kubectl() {
    let folder = tempfile::tempdir().unwrap();
    let waft = Up::default().arg("--file-root").arg(folder.path()).start();
    let component = folder.path().join("hello.wasm");
    fs::copy(waft_guests::path("hello-p2"), component).unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, manifest::deployment("hello", "file:hello.wasm")).unwrap();
    let path = file.to_str().unwrap();
    let ok = |args: &[&str]| {
        let ended = waft.cli(args);
        assert!(ended.status.success(), "{args:?}: {ended:?}");
        ended.stdout
    };

    let applied = ok(&["apply", "-f", path]);
    assert!(applied.contains("hello"), "{applied}");
    waft.get_ok("hello.localhost", "/log?noted");

    let listed = ok(&["get", "workloaddeployments"]);
    assert!(
        listed.starts_with("NAME") && listed.contains("hello"),
        "{listed}"
    );
    let described = ok(&["describe", "workloaddeployment/hello"]);
    assert!(described.contains("Ready"), "{described}");

    let status = eventually("status shows it ready", || {
        let status = ok(&["status"]);
        let url = format!("http://hello.localhost:{}/", waft.http.port());
        if status.contains(&url) && status.contains("1/1") {
            Ok(status)
        } else {
            Err(status)
        }
    });
    assert!(status.contains("hello"), "{status}");

    eventually("the guest's line is in its log", || {
        let log = ok(&["logs", "hello"]);
        if log.lines().any(|line| line.ends_with("noted")) {
            Ok(())
        } else {
            Err(log)
        }
    });

    // As `status` prints it.
    let log = ok(&["logs", "default/hello"]);
    assert!(log.lines().any(|line| line.ends_with("noted")), "{log}");
    for (asked, told) in [
        ("", "names no workload"),
        ("pods/", "names no workload"),
        ("nowhere/hello", "no kind `nowhere`"),
        ("kube-system/hello", "runs in namespace `kube-system`"),
    ] {
        let ended = waft.cli(&["logs", asked]);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }

    // Kubernetes calls it an error of the server.
    let wrong = folder.path().join("wrong.yaml");
    let text = manifest::deployment("wrong", "file:hello.wasm");
    fs::write(&wrong, text.replace("  replicas: 1", "  replicaz: 1")).unwrap();
    let refused = waft.cli(&["apply", "-f", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = format!("WorkloadDeployment/wrong in {}: ", wrong.display());
    assert!(refused.stderr.contains(&told), "{refused:?}");
    let hint = "hint: correct the manifest";
    assert!(refused.stderr.contains(hint), "{refused:?}");
    let twice = waft.cli(&["apply", "-f", path, "-f", path]);
    assert_eq!(twice.status.code(), Some(1), "{twice:?}");
    let told = "both would be WorkloadDeployment default/hello";
    assert!(twice.stderr.contains(told), "{twice:?}");

    let spin = folder.path().join("spin.yaml");
    let app = "{apiVersion: core.spinkube.dev/v1alpha1, kind: SpinApp, metadata: {name: a}}";
    fs::write(&spin, app).unwrap();
    let refused = waft.cli(&["apply", "-f", spin.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = "kind SpinApp of core.spinkube.dev/v1alpha1 is not served yet";
    assert!(refused.stderr.contains(told), "{refused:?}");

    let deleted = ok(&["delete", "-f", path, "-f", path]);
    assert_eq!(deleted.matches("/hello deleted").count(), 1, "{deleted}");
    eventually("the route is gone", || {
        match waft.get("hello.localhost", "/").status {
            404 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let again = waft.cli(&["delete", "-f", path]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

#[test]
fn a_set_of_its_own_is_shown_like_a_deployment() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        waft_guests::path("hello-p2"),
        folder.path().join("hello.wasm"),
    )
    .unwrap();
    let file = folder.path().join("set.yaml");
    let set = manifest::deployment("pair", "file:hello.wasm")
        .replace("WorkloadDeployment", "WorkloadReplicaSet")
        .replace("replicas: 1", "replicas: 2");
    fs::write(&file, set).unwrap();
    let waft = Up::default().arg(&file).start();
    waft.get_ok("pair.localhost", "/log?noted");
    let ok = |args: &[&str]| {
        let ended = waft.cli(args);
        assert!(ended.status.success(), "{args:?}: {ended:?}");
        ended.stdout
    };
    eventually("status shows it ready", || {
        let status = ok(&["status"]);
        let url = format!("http://pair.localhost:{}/", waft.http.port());
        let line = status
            .lines()
            .find(|line| line.starts_with("default/pair "));
        match line {
            Some(line) if line.contains(&url) && line.contains("2/2") => Ok(()),
            _ => Err(status),
        }
    });
    eventually("the guest's line is in its log", || {
        let log = ok(&["logs", "pair"]);
        match log.lines().any(|line| line.ends_with("noted")) {
            true => Ok(()),
            false => Err(log),
        }
    });
}

#[test]
fn workloads_of_one_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let hello = waft_guests::path("hello-p2");
    fs::copy(hello, folder.path().join("hello.wasm")).unwrap();
    let file = folder.path().join("both.yaml");
    let deployment = manifest::deployment("twin", "file:hello.wasm");
    let workload = manifest::workload("twin", "file:hello.wasm");
    let workload = workload.replace("twin.localhost", "other.localhost");
    fs::write(&file, format!("{deployment}---\n{workload}")).unwrap();
    let waft = Up::default().arg(&file).start();
    waft.get_ok("twin.localhost", "/log?of-the-deployment");
    waft.get_ok("other.localhost", "/log?of-the-workload");
    let status = waft.cli(&["status"]);
    for kind in ["WorkloadDeployment", "Workload"] {
        let name = format!("default/twin ({kind}) ");
        let mut lines = status.stdout.lines();
        assert!(lines.any(|line| line.starts_with(&name)), "{status:?}");
    }
    eventually("both are shown by Pods", || {
        let asked = waft.cli(&["logs", "twin"]);
        let told = "say which: `workload/twin`, `workloaddeployment/twin`";
        match asked.status.code() == Some(1) && asked.stderr.contains(told) {
            true => Ok(()),
            false => Err(format!("{asked:?}")),
        }
    });
    for (kind, line) in [
        ("workload", "of-the-workload"),
        ("workloaddeployment", "of-the-deployment"),
    ] {
        eventually("the guest's line is in its log", || {
            let log = waft.cli(&["logs", &format!("{kind}/twin")]).stdout;
            match log.lines().any(|text| text.ends_with(line)) {
                true => Ok(()),
                false => Err(log),
            }
        });
    }
}

#[test]
fn a_replica_that_has_not_started_hides_no_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        waft_guests::path("hello-p2"),
        folder.path().join("hello.wasm"),
    )
    .unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, manifest::deployment("hello", "file:hello.wasm")).unwrap();
    let waft = Up::default().arg(&file).start();
    waft.get_ok("hello.localhost", "/log?noted");
    fs::write(&file, manifest::deployment("hello", "file:nowhere.wasm")).unwrap();
    let path = file.to_str().unwrap();
    let applied = waft.cli(&["apply", "--force-conflicts", "-f", path]);
    assert!(applied.status.success(), "{applied:?}");
    eventually("one log, and why there is no other", || {
        let ended = waft.cli(&["logs", "hello"]);
        let is_told = ended.stderr.contains("is waiting to start: FileNotFound");
        match ended.status.success() && ended.stdout.contains("noted") && is_told {
            true => Ok(()),
            false => Err(format!("{ended:?}")),
        }
    });
}

#[test]
fn applying_a_manifest_again_brings_a_component_that_was_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("hello.wasm");
    let file = folder.path().join("app.yaml");
    fs::write(&component, waft_guests::with_image_name("first")).unwrap();
    fs::write(&file, manifest::deployment("hello", "file:hello.wasm")).unwrap();
    let waft = Up::default().arg(&file).start();
    assert_eq!(waft.get_ok("hello.localhost", "/image"), "first\n");

    let new = folder.path().join("new.wasm");
    fs::write(&new, waft_guests::with_image_name("second")).unwrap();
    fs::rename(new, &component).unwrap();
    for change in ["configured", "unchanged"] {
        let applied = waft.cli(&["apply", "-f", file.to_str().unwrap()]);
        assert!(applied.status.success(), "{applied:?}");
        assert!(applied.stdout.contains(change), "{applied:?}");
    }
    eventually("the new component answers", || {
        match waft.get_ok("hello.localhost", "/image").as_str() {
            "second\n" => Ok(()),
            other => Err(other.to_owned()),
        }
    });

    // What a person has set is taken over on demand only, with a component built again or not.
    let edited =
        manifest::deployment("hello", "file:hello.wasm").replace("replicas: 1", "replicas: 2");
    fs::write(&file, edited).unwrap();
    fs::write(&component, waft_guests::with_image_name("third")).unwrap();
    let refused = waft.cli(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--force-conflicts"), "{refused:?}");
}

#[test]
fn a_cache_that_cannot_be_written_says_how_to_move_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = ephemeral();
    command.arg("--data-dir").arg(folder.path());
    command.env("HOME", "/dev/null");
    let said = &refused(command);
    assert!(said.contains("`/dev/null/.cache/waft/images`"), "{said}");
    assert!(
        said.contains("hint: ") && said.contains("XDG_CACHE_HOME"),
        "{said}"
    );
}

#[test]
fn a_temporary_folder_that_cannot_be_made_says_how_to_move_it() {
    let mut command = ephemeral();
    command.env("TMPDIR", "/nowhere");
    let said = &refused(command);
    assert!(said.contains("/nowhere: "), "{said}");
    assert!(
        said.contains("hint: ") && said.contains("$TMPDIR"),
        "{said}"
    );
    assert!(!said.contains("--ephemeral"), "{said}");
}

#[test]
fn output_is_json_a_line_on_demand() {
    let waft = Up::default()
        .arg("examples/hello")
        .arg("--output")
        .arg("json")
        .start();
    waft.get_ok("hello.localhost", "/log?x");
    waft.wait_for_line(&["hello.localhost", "http://"]);
    for line in waft.output().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[test]
fn a_log_that_is_followed_says_that_the_platform_is_gone() {
    let waft = Waft::up(["examples/hello"]);
    waft.get_ok("hello.localhost", "/log?seen");
    let mut following = waft::command(waft::WAFT);
    let following = following.args(["logs", "--follow", "hello"]);
    let following = following.env("KUBECONFIG", waft.kubeconfig());
    let following = following.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = following.spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(following.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("seen"), "{line}");
    waft.kill();
    let mut said = String::new();
    let mut errors = following.stderr.take().unwrap();
    errors.read_to_string(&mut said).unwrap();
    assert_eq!(following.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("broke its answer off"), "{said}");
    assert!(said.contains("hint: is it running?"), "{said}");
    assert!(!said.contains("docs.rs"), "{said}");
}

/// `waft up` that keeps nothing, at free ports.
fn ephemeral() -> Command {
    let mut command = waft::command(waft::WAFT);
    command.args(["up", "--ephemeral"]);
    for flag in ["--http", "--api", "--admin"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command
}

/// What a command says that ends with an error.
fn refused(command: Command) -> String {
    let ended = waft::finish(command);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    ended.stderr
}
