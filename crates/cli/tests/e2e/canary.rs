//! A Secret is given to workloads in every way there is, good ones and ones that fail; then its
//! value is looked for wherever somebody could read it who may not read the Secret.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

use k8s_openapi::ByteString;

use crate::support::{
    eventually,
    kubectl::Kubectl,
    waft::{Up, Waft},
};

/// The value, which no other run has: it is looked for in folders that all runs share.
static CANARY: LazyLock<String> = LazyLock::new(|| {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("canary-{:09}-of-the-secret", now.subsec_nanos())
});
/// In base64, as the API has it; the text is so long that it needs no padding.
static ENCODED: LazyLock<String> = LazyLock::new(|| {
    let encoded = serde_json::to_value(ByteString(CANARY.as_bytes().into())).unwrap();
    encoded.as_str().unwrap().to_owned()
});

/// A WorkloadDeployment of one component with more fields, as flow-style YAML.
fn deployment(name: &str, image: &Path, entries: &str, volumes: &str, component: &str) -> String {
    format!(
        "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: {name}}}
spec:
  template:
    spec:
      hostInterfaces:
        - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: {name}.localhost}}}}
{entries}
      volumes: [{volumes}]
      components:
        - {{name: main, image: \"file:{}\", localResources: {{{component}}}}}
---
",
        image.display()
    )
}

/// What uses the Secret: well, and in ways that fail.
fn manifests(broken: &Path) -> String {
    let image = waft_guests::path;
    let environment = "environment: {secretFrom: [{name: canary}]}";
    let mount = "volumeMounts: [{name: s, mountPath: /s}]";
    let secret = "{name: s, secret: {secretName: canary}}";
    let config = "        - {namespace: wasi, package: config, interfaces: [store], \
                  secretFrom: [{name: canary}]}";
    let secrets = "        - {namespace: wasmcloud, package: secrets, version: 2.1.0, \
                   interfaces: [store, reveal], secretFrom: [{name: canary}]}";
    let keyvalue = "        - {namespace: wasi, package: keyvalue, interfaces: [store], \
                    secretFrom: [{name: canary}]}";
    [
        deployment("environment", &image("hello-p2"), "", "", environment),
        deployment("volume", &image("files-p2"), "", secret, mount),
        deployment("config", &image("config-p2"), config, "", "config: {a: b}"),
        deployment(
            "traps",
            &image("trap-p2"),
            "",
            secret,
            &format!("{environment}, {mount}"),
        ),
        deployment(
            "no-image",
            broken,
            "",
            secret,
            &format!("{environment}, {mount}"),
        ),
        deployment(
            "no-key",
            &image("files-p2"),
            "",
            "{name: s, secret: {secretName: canary, items: [{key: other, path: x}]}}",
            &format!("{environment}, {mount}"),
        ),
        deployment(
            "no-secret",
            &image("hello-p2"),
            "",
            "",
            "environment: {secretFrom: [{name: canary}, {name: gone}]}",
        ),
        deployment(
            "secrets",
            &image("secrets-p3"),
            secrets,
            "",
            "config: {a: b}",
        ),
        // A value of an interface's entry that is no key of it.
        deployment(
            "no-entry",
            &image("keyvalue-p2"),
            keyvalue,
            "",
            "config: {a: b}",
        ),
    ]
    .concat()
}

fn has_canary(text: &str) -> bool {
    text.contains(&*CANARY) || text.contains(&*ENCODED)
}

/// The lines with the canary in a text, for the message of a failure.
#[track_caller]
fn is_clean(place: &str, text: &str) {
    let lines: Vec<_> = text.lines().filter(|line| has_canary(line)).collect();
    let first = lines
        .first()
        .map(|line| line.chars().take(500).collect::<String>());
    assert!(
        lines.is_empty(),
        "{place}: {} lines, as {first:?}",
        lines.len()
    );
}

/// Files below a folder that hold the canary.
fn files_with_it(folder: &Path) -> Vec<PathBuf> {
    let found = Command::new("grep")
        .args(["-rlaF", "-e", &*CANARY, "-e", &*ENCODED])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().map(PathBuf::from).collect()
}

/// Everything the API shows, but Secrets.
fn objects(kubectl: &Kubectl) -> String {
    let names = kubectl.ok(&["api-resources", "--verbs=list", "-o", "name"]);
    let names: Vec<_> = names.lines().filter(|name| *name != "secrets").collect();
    assert!(
        names.contains(&"events") && names.contains(&"pods"),
        "{names:?}"
    );
    kubectl.ok(&[
        "get",
        &names.join(","),
        "--all-namespaces",
        "-o",
        "yaml",
        "--show-managed-fields",
    ])
}

fn wait_until_all_have_ended_up_somewhere(waft: &Waft, kubectl: &Kubectl) {
    assert!(
        waft.get_ok("environment.localhost", "/env")
            .contains(&*CANARY)
    );
    assert_eq!(waft.get_ok("volume.localhost", "/read?/s/token"), *CANARY);
    assert_eq!(
        waft.get_ok("config.localhost", "/?token"),
        format!("{}\n", *CANARY)
    );
    assert_eq!(waft.get_ok("secrets.localhost", "/check?token&open"), "no");
    eventually("it traps", || {
        match waft.get("traps.localhost", "/panic").status {
            500 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    for name in ["no-image", "no-key", "no-secret", "no-entry"] {
        let object = format!("workloaddeployment/{name}");
        let (reason, message) = kubectl.wait_condition(&object, "Ready", "False");
        eventually(&format!("{name}: {reason} {message}"), || {
            let (_, reason, _) = kubectl.condition(&object, "Ready");
            match reason.as_str() {
                "Progressing" | "WorkloadsNotReady" | "Pending" => Err(reason),
                _ => Ok(()),
            }
        });
    }
}

#[test]
fn the_value_of_a_secret_is_nowhere_but_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.wasm");
    fs::write(&broken, "no component").unwrap();
    let file = folder.path().join("all.yaml");
    fs::write(&file, manifests(&broken)).unwrap();
    let data = folder.path().join("data");
    let waft = Up::default()
        // Debug, of all crates.
        .arg("-vv")
        .arg("--file-root")
        .arg(waft_guests::path("hello-p2").parent().unwrap())
        .arg("--file-root")
        .arg(folder.path())
        .data(&data)
        .start();
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    kubectl.apply_ok(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: canary}}\nstringData: {{token: {}}}",
        *CANARY
    ));
    // Applied by the program itself.
    let applied = waft.cli(&["apply", "-vv", "-f", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    wait_until_all_have_ended_up_somewhere(&waft, &kubectl);

    // The search finds it where it is.
    let secret = kubectl.ok(&["get", "secret", "canary", "-o", "yaml"]);
    assert!(secret.contains(&*ENCODED), "{secret}");
    let stores = files_with_it(&data);
    let is_store = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.parent() == Some(&data.join("api")) && name.starts_with("state.db")
    };
    assert!(!stores.is_empty());
    let in_memory = Path::new("/dev/shm");
    assert!(!files_with_it(in_memory).is_empty());
    assert!(stores.iter().all(is_store), "{stores:?}");

    for name in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{name}", waft.pid())).unwrap();
        is_clean(name, &String::from_utf8_lossy(&text));
    }
    is_clean("the objects of the API", &objects(&kubectl));
    is_clean(
        "kubectl describe",
        &kubectl.ok(&["describe", "pods,nodes,workloads"]),
    );
    for name in [
        "environment",
        "volume",
        "config",
        "traps",
        "no-image",
        "no-key",
    ] {
        for args in [["logs", name], ["describe", name]] {
            let ended = waft.cli(&args);
            is_clean(args[0], &(ended.stdout + &ended.stderr));
        }
    }
    is_clean("waft status", &waft.cli(&["status", "-vv"]).stdout);
    is_clean("waft apply", &(applied.stdout + &applied.stderr));
    let metrics = crate::support::http::get(waft.admin, "localhost", "/metrics");
    is_clean("the metrics", &metrics.unwrap().text());

    // A change of the Secret rolls what uses it; the old value is not told either.
    kubectl.ok(&[
        "patch",
        "secret",
        "canary",
        "-p",
        "{\"stringData\": {\"token\": \"x\"}}",
    ]);
    eventually("the new value", || {
        match waft.get_ok("volume.localhost", "/read?/s/token").as_str() {
            "x" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let (ended, output) = waft.interrupt();
    assert!(ended.success(), "{output}");
    assert!(output.len() > 100_000, "it says little for level debug");
    is_clean("what waft up printed", &output);
    assert_eq!(files_with_it(in_memory), Vec::<PathBuf>::new());
    let left = files_with_it(&data);
    assert!(left.iter().all(is_store), "{left:?}");
}
