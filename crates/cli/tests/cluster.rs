//! The commands against a real kube-apiserver: what they ask of an API is what Kubernetes answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

/// A running cluster; ends when dropped.
struct Cluster {
    dir: tempfile::TempDir,
}

fn script() -> PathBuf {
    waft_guests::workspace().join("tests/env/testenv")
}

impl Cluster {
    /// Starts one, or says that the test is skipped.
    fn up() -> Option<Self> {
        if !waft_guests::test_home()
            .join("bin/kube-apiserver")
            .is_file()
        {
            waft_guests::skip("no kube-apiserver: run `tests/env/testenv install kube`");
            return None;
        }
        let cluster = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut up = Command::new(script());
        let output = up.arg("up").arg(cluster.dir.path()).arg("kube").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        Some(cluster)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_waft"))
            .args(arguments)
            .current_dir(waft_guests::workspace())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(script())
            .arg("down")
            .arg(self.dir.path())
            .output();
    }
}

/// One cluster serves all, since starting it takes longest: the steps of one user's day.
#[test]
fn the_commands_work_on_a_cluster() {
    let Some(cluster) = Cluster::up() else {
        return;
    };
    let hello = ["-f", "examples/hello", "-n", "team"];
    let with = |command: &'static str| [&[command][..], &hello].concat();

    // Without the kinds, nothing is applied, not even the namespace.
    let text = cluster.fails(&with("apply"));
    assert!(text.contains("no kind `WorkloadDeployment`"), "{text}");
    assert!(
        text.contains("hint: Waft's kinds come to a cluster"),
        "{text}"
    );

    // Kinds, namespace and object in one go.
    let crds = cluster.file("crds.yaml", &cluster.ok(&["crds"]));
    let mut both = with("apply");
    both.extend(["-f", crds.as_str()]);
    let text = cluster.ok(&both);
    let object = "workloaddeployment.runtime.wasmcloud.dev/hello";
    assert!(
        text.ends_with(&format!("namespace/team created\n{object} created\n")),
        "{text}"
    );
    assert_eq!(cluster.ok(&with("apply")), format!("{object} unchanged\n"));

    // Many ways to look at it.
    for kind in [
        "workloaddeployments",
        "WorkloadDeployment",
        "workloaddeployments.runtime.wasmcloud.dev",
    ] {
        let text = cluster.ok(&["get", kind, "-n", "team"]);
        assert!(
            text.starts_with("NAME ") && text.contains("\nhello "),
            "{text}"
        );
    }
    let all = cluster.ok(&["get", "ns,workloaddeployments", "-A"]);
    assert!(
        all.contains("namespace/team ") && all.contains("\nteam "),
        "{all}"
    );
    let name = cluster.ok(&["get", "workloaddeployments", "-A", "-o", "name"]);
    assert_eq!(name, format!("{object}\n"));
    let yaml = cluster.ok(&[
        "get",
        "workloaddeployment/hello",
        "-n",
        "team",
        "-o",
        "yaml",
    ]);
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
    let json = cluster.ok(&[
        "get",
        "workloaddeployment",
        "hello",
        "-n",
        "team",
        "-o",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(yaml, json);
    assert_eq!(json["metadata"]["name"], "hello");
    let text = cluster.ok(&["describe", "workloaddeployment/hello", "-n", "team"]);
    assert!(
        text.contains("Namespace:") && text.contains("replicas: 1"),
        "{text}"
    );
    let status = cluster.ok(&["status", "--output", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["name"], "hello");
    assert_eq!(status[0]["ready"], 0);

    // Mistakes: all objects are checked before one is written.
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n";
    let bad = good.replace("good", "bad") + "dota: {}\n";
    let file = cluster.file("two.yaml", &format!("{good}---\n{bad}"));
    let text = cluster.fails(&["apply", "-f", &file]);
    assert!(text.contains("dota") && text.contains("two.yaml"), "{text}");
    let text = cluster.fails(&["get", "configmap", "good"]);
    assert!(text.contains("\"good\" not found"), "{text}");
    assert!(text.contains("hint: `waft get configmaps -A`"), "{text}");
    let text = cluster.fails(&["logs", "hello", "-n", "team"]);
    assert!(
        text.contains("no replica of `hello` runs in namespace `team`"),
        "{text}"
    );

    assert_eq!(cluster.ok(&with("delete")), format!("{object} deleted\n"));
    let text = cluster.fails(&with("delete"));
    assert!(
        text.contains("not there") && text.contains("--ignore-not-found"),
        "{text}"
    );
    let mut ignoring = with("delete");
    ignoring.push("--ignore-not-found");
    cluster.ok(&ignoring);
}
