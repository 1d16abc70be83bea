//! `waft` as a child process.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use tempfile::TempDir;

use super::{
    PATIENCE, eventually, free_address,
    http::{self, Response},
};

/// How to start `waft up`.
#[derive(Debug, Default)]
pub(crate) struct Up {
    args: Vec<OsString>,
    data: Option<PathBuf>,
    working_dir: Option<PathBuf>,
    /// A program that runs the command it is given, and its arguments.
    wrapper: Vec<OsString>,
    http: Option<SocketAddr>,
    stdin: Option<PathBuf>,
}

/// A running `waft up`. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Waft {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Its data folder.
    pub(crate) data: PathBuf,
    output: Output,
    _scratch: TempDir,
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Lines that a child printed, stdout and stderr together.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<String>>>);

/// The program under test.
pub(crate) const WAFT: &str = env!("CARGO_BIN_EXE_waft");

/// A home folder of its own, so that nothing of the user's is read or written. One for all tests:
/// what one compiled, the next finds in the cache.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("home")
}

/// A command with a clean environment: `waft` and its arguments.
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.env("HOME", home()).stdin(Stdio::null());
    for variable in [
        "KUBECONFIG",
        "DOCKER_CONFIG",
        "XDG_CACHE_HOME",
        "XDG_STATE_HOME",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs `waft` to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    let mut command = command(WAFT);
    command.args(args);
    finish(command)
}

/// Runs a command to its end, or panics when patience is over.
pub(crate) fn finish(mut command: Command) -> Ended {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            from.read_to_end(&mut text).map(|_| text)
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.stderr.take().expect("piped")));
    let status = wait(&mut child, &format!("{command:?}"));
    let text = |reader: thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        let bytes = reader.join().expect("the reader does not panic");
        String::from_utf8_lossy(&bytes.expect("a pipe can be read")).into_owned()
    };
    Ended {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{what} does not end");
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
}

impl Up {
    /// An argument of `waft up`.
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Keeps state in this folder. Without it, state is ephemeral.
    pub(crate) fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    pub(crate) fn working_dir(mut self, folder: &Path) -> Self {
        self.working_dir = Some(folder.to_owned());
        self
    }

    /// Starts it under another program, which must pass signals on or be killed with it.
    pub(crate) fn under(mut self, wrapper: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Listens for HTTP here rather than on a free port.
    pub(crate) fn http(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// Gives it this file as standard input.
    pub(crate) fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    /// Starts it and waits until it says it is ready.
    pub(crate) fn start(self) -> Waft {
        let mut waft = self.spawn();
        eventually("waft up becomes ready", || {
            if let Some(status) = waft.child.try_wait().expect("a child can be waited for") {
                panic!("waft up ended with {status}:\n{}", waft.output.text());
            }
            match http::get(waft.admin, "localhost", "/readyz") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}\n{}", waft.output.text())),
            }
        });
        waft
    }

    /// Starts it and waits until it ends by itself.
    pub(crate) fn run(self) -> Ended {
        let (command, _scratch, ..) = self.command();
        finish(command)
    }

    /// Starts it.
    pub(crate) fn spawn(self) -> Waft {
        let (mut command, scratch, http, api, admin, data) = self.command();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        Waft {
            child,
            http,
            api,
            admin,
            data,
            output,
            _scratch: scratch,
        }
    }

    fn command(
        self,
    ) -> (
        Command,
        TempDir,
        SocketAddr,
        SocketAddr,
        SocketAddr,
        PathBuf,
    ) {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let http = self.http.unwrap_or_else(free_address);
        let (api, admin) = (free_address(), free_address());
        let data = self.data.clone();
        let data = data.unwrap_or_else(|| scratch.path().join("data"));
        let mut words = self.wrapper.into_iter().chain([WAFT.into()]);
        let mut command = command(words.next().expect("at least the program"));
        command.args(words).arg("up").args(&self.args);
        command.arg("--data-dir").arg(&data);
        if self.data.is_none() {
            command.arg("--ephemeral");
        }
        for (flag, address) in [("--http", http), ("--api", api), ("--admin", admin)] {
            command.arg(flag).arg(address.to_string());
        }
        if let Some(file) = &self.stdin {
            command.stdin(File::open(file).expect("a file for standard input"));
        }
        let folder = self.working_dir.as_deref();
        command.current_dir(folder.unwrap_or(waft_guests::workspace()));
        (command, scratch, http, api, admin, data)
    }
}

impl Waft {
    /// Starts `waft up`, ephemeral, with these arguments, and waits until it is ready.
    pub(crate) fn up<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(Up::default(), Up::arg).start()
    }

    /// GET from its HTTP listener.
    pub(crate) fn get(&self, host: &str, path: &str) -> Response {
        http::get(self.http, host, path)
            .unwrap_or_else(|error| panic!("GET {host}{path}: {error}\n{}", self.output()))
    }

    /// Waits until a GET is answered with 200, and gives the answer's text.
    pub(crate) fn get_ok(&self, host: &str, path: &str) -> String {
        eventually(&format!("GET {host}{path}"), || {
            match http::get(self.http, host, path) {
                Ok(answer) if answer.status == 200 => Ok(answer.text()),
                Ok(answer) => Err(format!("{answer:?}\n{}", self.output.tail())),
                Err(error) => Err(format!("{error}\n{}", self.output.tail())),
            }
        })
    }

    /// The kubeconfig it wrote.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// A `waft` command that talks to it.
    pub(crate) fn cli(&self, args: &[&str]) -> Ended {
        let mut command = command(WAFT);
        command.args(args).env("KUBECONFIG", self.kubeconfig());
        finish(command)
    }

    /// Everything it printed until now.
    pub(crate) fn output(&self) -> String {
        self.output.text()
    }

    /// How many lines were printed until now.
    pub(crate) fn mark(&self) -> usize {
        self.output.0.lock().unwrap().len()
    }

    /// Waits for a printed line that holds all of these, whenever it was printed.
    pub(crate) fn wait_for_line(&self, parts: &[&str]) -> String {
        self.wait_for_line_after(0, parts)
    }

    /// Waits for one that was printed after a [mark](Self::mark): one that a step of the test has
    /// caused, not one that looks like it and was there before.
    pub(crate) fn wait_for_line_after(&self, mark: usize, parts: &[&str]) -> String {
        eventually(&format!("a line with {parts:?} after {mark} lines"), || {
            let lines = self.output.0.lock().unwrap();
            let line = lines
                .iter()
                .skip(mark)
                .find(|line| parts.iter().all(|part| line.contains(part)));
            let last = lines.len().saturating_sub(30);
            line.cloned().ok_or_else(|| lines[last..].join("\n"))
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that [`resident`](Self::resident) ever was.
    pub(crate) fn resident_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the process lives");
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number of KiB")
            << 10
    }

    /// SIGKILL, with no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process lives");
        let _ = self.child.wait();
    }

    /// SIGINT, as Ctrl-C sends it; waits for the end.
    pub(crate) fn interrupt(mut self) -> (ExitStatus, String) {
        signal(self.pid(), "INT");
        let status = wait(&mut self.child, "waft up after SIGINT");
        (status, self.output())
    }
}

impl Drop for Waft {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    /// Reads a pipe to its end in the background.
    fn follow(&self, pipe: impl Read + Send + 'static) {
        let lines = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap().push(line);
            }
        });
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// The last lines, for a failure's message.
    fn tail(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Sends a signal, by name.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
}
