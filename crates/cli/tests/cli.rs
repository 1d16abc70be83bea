//! The `waft` program where no platform runs: help, static output, and what it says when there is
//! nobody to talk to. With a platform: `e2e`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A program with a home of its own.
struct Waft {
    home: tempfile::TempDir,
    program: PathBuf,
}

fn waft() -> Waft {
    Waft {
        home: tempfile::tempdir().unwrap(),
        program: env!("CARGO_BIN_EXE_waft").into(),
    }
}

impl Waft {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a success.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a failure with a code; nothing is on standard output then.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        text.replace(&self.home.path().display().to_string(), "HOME")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// Compares with a file of `tests/golden`; `WAFT_UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("WAFT_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn help_is_complete() {
    let waft = waft();
    golden("help.txt", &waft.ok(&["--help"]));
    for command in [
        "up",
        "apply",
        "delete",
        "get",
        "describe",
        "logs",
        "status",
        "crds",
        "version",
        "completion",
    ] {
        golden(
            &format!("help-{command}.txt"),
            &waft.ok(&[command, "--help"]),
        );
    }
}

#[test]
fn the_version_has_two_forms() {
    let waft = waft();
    let version = env!("CARGO_PKG_VERSION");
    let text = waft.ok(&["version"]);
    assert!(text.starts_with(&format!("waft {version} (")), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&waft.ok(&["version", "--output", "json"])).unwrap();
    assert_eq!(json["version"], version);
    assert_eq!(waft.ok(&["--version"]), format!("waft {version}\n"));
}

#[test]
fn crds_are_documents_that_parse() {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&waft().ok(&["crds"])).unwrap();
    let kinds: Vec<_> = documents
        .iter()
        .map(|document| {
            assert_eq!(document["kind"], "CustomResourceDefinition");
            document["spec"]["names"]["kind"].as_str().unwrap()
        })
        .collect();
    for kind in [
        "WorkloadDeployment",
        "Workload",
        "HTTPTrigger",
        "Host",
        "Artifact",
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn every_shell_is_completed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = waft().ok(&["completion", shell]);
        assert!(script.contains("registry-mirror"), "{shell}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_with_the_way_out() {
    let waft = waft();
    for (arguments, words) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (
            &["up", "--http", "8000"],
            "invalid value '8000' for '--http",
        ),
        (
            &["up", "--registry-mirror", "ghcr.io"],
            "expected `HOST=URL`",
        ),
        (&["up", "--host-label", "zone"], "expected KEY=VALUE"),
        (&["logs", "hello", "--since", "soon"], "is not a duration"),
        (&["apply"], "--filename"),
        (&["get", "pods", "-o", "xml"], "possible values"),
    ] {
        let text = waft.fails(2, arguments);
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn without_a_kubeconfig_it_says_where_it_looked() {
    let text = waft().fails(1, &["status"]);
    let expected = "error: there is no kubeconfig: looked for \
        `HOME/.local/state/waft/default/kubeconfig`, `HOME/.kube/config`\n\n\
        hint: start a platform with `waft up`, or name a kubeconfig with `--kubeconfig`\n";
    assert_eq!(text, expected);
    let waft = waft();
    let mut command = waft.command(&["status"]);
    let output = command
        .env("KUBECONFIG", "/none:/nowhere")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("$KUBECONFIG names `/none`, `/nowhere`"),
        "{text}"
    );
}

/// A kubeconfig for an address where nobody listens.
const NOBODY: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: c, context: {cluster: c, user: ''}}]
current-context: c
";

#[test]
fn with_nobody_there_it_says_how_to_start_one() {
    let waft = waft();
    let path = waft.file("kubeconfig", NOBODY);
    for arguments in [
        &["status"][..],
        &["get", "workloaddeployments"],
        &["describe", "host/a"],
        &["logs", "hello"],
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--kubeconfig", &path]);
        let text = waft.fails(1, &all);
        let words = "the API at http://127.0.0.1:1 can't be reached: Connection refused";
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert!(
            text.contains("\n\nhint: is it running? `waft up`"),
            "{text}"
        );
    }
}

#[test]
fn a_kubeconfig_that_does_not_fit_is_named() {
    let waft = waft();
    let absent = waft.fails(1, &["status", "--kubeconfig", "/none"]);
    assert!(absent.contains("`/none` can't be used"), "{absent}");
    let path = waft.file("kubeconfig", NOBODY);
    let context = waft.fails(1, &["status", "--kubeconfig", &path, "--context", "x"]);
    assert!(
        context.contains("hint: name one of its contexts"),
        "{context}"
    );
    let broken = waft.file("broken", "clusters: 1");
    let broken = waft.fails(1, &["status", "--kubeconfig", &broken]);
    assert!(broken.contains("`HOME/broken` can't be used"), "{broken}");
}

#[test]
fn a_manifest_is_read_before_anybody_is_asked() {
    let waft = waft();
    let path = waft.file("kubeconfig", NOBODY);
    let manifest = waft.file("bad.yaml", "kind: [");
    for command in ["apply", "delete"] {
        let text = waft.fails(1, &[command, "-f", &manifest, "--kubeconfig", &path]);
        assert!(text.contains("HOME/bad.yaml: does not parse"), "{text}");
        let text = waft.fails(1, &[command, "-f", "absent.yaml", "--kubeconfig", &path]);
        assert!(text.contains("absent.yaml: "), "{text}");
    }
    let mut child = waft.command(&["apply", "-f", "-", "--kubeconfig", &path]);
    child.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"# nothing\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("there is no object in these manifests"),
        "{text}"
    );
}

#[test]
fn as_a_plugin_it_uses_kubectls_kubeconfig() {
    let mut waft = waft();
    let state = waft.home.path().join(".local/state/waft/default");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("kubeconfig"), NOBODY.replace(":1'", ":2'")).unwrap();
    fs::create_dir_all(waft.home.path().join(".kube")).unwrap();
    fs::write(waft.home.path().join(".kube/config"), NOBODY).unwrap();
    assert!(waft.fails(1, &["status"]).contains("127.0.0.1:2"));
    let plugin = waft.home.path().join("kubectl-waft");
    std::os::unix::fs::symlink(&waft.program, &plugin).unwrap();
    waft.program = plugin;
    assert!(waft.fails(1, &["status"]).contains("127.0.0.1:1 "));
    let usage = waft.ok(&["status", "--help"]);
    assert!(usage.contains("Usage: kubectl waft status"), "{usage}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let waft = waft();
    let mut child = waft.command(&["crds"]);
    child.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
