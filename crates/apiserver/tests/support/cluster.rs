//! A server behind TLS, and programs that talk to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use tokio::net::TcpListener;
use waft_apiserver::{Access, ApiServer, Config};

use super::define_widgets;

/// A server on a port of its own, and a folder with its kubeconfig.
pub(crate) struct Cluster {
    pub(crate) server: Arc<ApiServer>,
    folder: tempfile::TempDir,
    pub(crate) address: String,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// `None` where kubectl isn't installed; CI fails there.
    pub(crate) fn start() -> Option<Cluster> {
        program("kubectl")?;
        Some(Cluster::open())
    }

    /// The same for tests that need no program.
    pub(crate) fn open() -> Cluster {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (server, address) = runtime.block_on(async {
            let data_dir = Some(folder.path().join("data"));
            let server = ApiServer::open(Config {
                data_dir: data_dir.clone(),
                ..Config::default()
            })
            .await
            .expect("a server");
            define_widgets(&server).await;
            let access = Access::open(data_dir.as_deref(), &[]).expect("access");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            access
                .write_kubeconfig(&folder.path().join("kubeconfig"), &address)
                .expect("written");
            let serving = server.clone();
            tokio::spawn(async move { serving.serve(listener, &access).await });
            (server, address)
        });
        Cluster {
            server,
            folder,
            address,
            runtime,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run(&self, line: &str, input: &str) -> Output {
        self.start_program("kubectl", line, input)
            .wait_with_output()
            .expect("kubectl ends")
    }

    /// Starts a program on this cluster. Shell words, so that lines are those that a person types.
    pub(crate) fn start_program(&self, name: &str, line: &str, input: &str) -> Child {
        use std::io::Write;
        let program = program(name).expect("it is installed");
        let mut child = Command::new("bash")
            .args(["-c", &format!("exec {} {line}", program.display())])
            .current_dir(self.path())
            .env("KUBECONFIG", self.path().join("kubeconfig"))
            .env("HOME", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes())
            .expect("written");
        child
    }

    /// What another program than kubectl prints when it succeeds.
    pub(crate) fn ok_program(&self, name: &str, line: &str) -> String {
        let child = self.start_program(name, line, "");
        let output = child.wait_with_output().expect("the program ends");
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name} {line}\n{out}{error}");
        out
    }

    /// What a command that succeeds prints.
    pub(crate) fn ok(&self, line: &str) -> String {
        self.ok_with(line, "")
    }

    pub(crate) fn ok_with(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {line}\n{out}{error}");
        out
    }

    /// What a command that fails says.
    pub(crate) fn fails(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        assert!(
            !output.status.success(),
            "kubectl {line} succeeded: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.server.shut_down();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where a program is: on the path, or where `tests/env/testenv` installs. `None`: nowhere, and the
/// test is skipped; CI fails there.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("TESTENV_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cache/waft-testenv")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(home.map(|home| home.join("bin")));
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("WAFT_REQUIRE_SERVERS").is_none(),
            "{name} is not installed"
        );
        eprintln!("skipped: {name} is not installed");
    }
    found
}
