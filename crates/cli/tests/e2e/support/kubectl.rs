//! The real kubectl.

use std::{
    ffi::OsString,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    eventually,
    waft::{self, Ended, Waft},
};

/// kubectl for one cluster, with a cache of its own.
#[derive(Debug)]
pub(crate) struct Kubectl {
    program: OsString,
    kubeconfig: PathBuf,
    home: TempDir,
}

/// A kubectl that runs beside the test. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Kubectl {
    /// kubectl as `tests/env/testenv` built it, else the one on the path. `None`, and said so,
    /// where there is neither.
    pub(crate) fn new(waft: &Waft) -> Option<Self> {
        let built = waft_guests::test_home().join("bin/kubectl");
        let program = if built.is_file() {
            built.into()
        } else {
            OsString::from("kubectl")
        };
        let works = Command::new(&program)
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !works.is_ok_and(|status| status.success()) {
            waft_guests::skip("no kubectl: run `tests/env/testenv install kubectl`");
            return None;
        }
        Some(Self {
            program,
            kubeconfig: waft.kubeconfig(),
            home: tempfile::tempdir().expect("a temporary folder"),
        })
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = waft::command(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        waft::finish(self.command(args))
    }

    /// Runs it to its end, with this text as its input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let path = self.home.path().join("input");
        let mut file = std::fs::File::create(&path).expect("a temporary file");
        file.write_all(input.as_bytes()).expect("a temporary file");
        let mut command = self.command(args);
        command.stdin(std::fs::File::open(&path).expect("a temporary file"));
        waft::finish(command)
    }

    /// Runs it, expects success, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert!(ended.status.success(), "kubectl {args:?}: {ended:?}");
        ended.stdout
    }

    /// `apply -f -` with strict validation.
    pub(crate) fn apply(&self, manifest: &str) -> Ended {
        self.run_with(&["apply", "--validate=strict", "-f", "-"], manifest)
    }

    /// Applies and expects success.
    pub(crate) fn apply_ok(&self, manifest: &str) -> String {
        let ended = self.apply(manifest);
        assert!(ended.status.success(), "apply: {ended:?}\n{manifest}");
        ended.stdout
    }

    /// Starts it and lets it run.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().expect("kubectl starts"))
    }

    /// A value of an object by JSONPath; empty where there is none.
    pub(crate) fn value(&self, object: &str, path: &str) -> String {
        self.ok(&["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// `status`, `reason` and `message` of a condition.
    pub(crate) fn condition(&self, object: &str, kind: &str) -> (String, String, String) {
        let path = format!(
            "{{range .status.conditions[?(@.type==\"{kind}\")]}}{{.status}}|{{.reason}}|{{.message}}{{end}}"
        );
        let text = self.value(object, &path);
        let mut parts = text.splitn(3, '|').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }

    /// Waits until a condition has this status, and gives its reason and message.
    pub(crate) fn wait_condition(
        &self,
        object: &str,
        kind: &str,
        status: &str,
    ) -> (String, String) {
        eventually(&format!("{object} becomes {kind}={status}"), || {
            let (have, reason, message) = self.condition(object, kind);
            if have == status {
                Ok((reason, message))
            } else {
                Err(format!("{kind}={have} {reason}: {message}"))
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
