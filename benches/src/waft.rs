//! The `waft` program in a process of its own.

use std::{
    env,
    ffi::OsStr,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Result, bail, ensure};
use waft_servers::free_address;

/// A `waft up`. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Waft {
    child: Child,
    /// Where its workloads are reached.
    pub(crate) http: SocketAddr,
}

impl Waft {
    /// The program that lies beside this one, unless a path is given.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn program(given: Option<&OsStr>) -> Result<PathBuf> {
        let path = match given {
            Some(path) => PathBuf::from(path),
            None => env::current_exe()?.with_file_name("waft"),
        };
        ensure!(
            path.is_file(),
            "{} is missing: cargo build --profile dist",
            path.display()
        );
        Ok(path)
    }

    /// Starts `waft up` on free ports with these arguments; `home` holds its caches.
    ///
    /// # Errors
    /// If it can't be started.
    pub(crate) fn up<I>(program: &Path, home: &Path, arguments: I, stdout: Stdio) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let http = free_address();
        let mut command = Command::new(program);
        command
            .arg("up")
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .env("HOME", home)
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::inherit());
        let others = [("--api", free_address()), ("--admin", free_address())];
        for (flag, address) in others.into_iter().chain([("--http", http)]) {
            command.arg(flag).arg(address.to_string());
        }
        let child = command.spawn()?;
        Ok(Self { child, http })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it prints, if `stdout` was piped and was not taken yet.
    pub(crate) fn output(&mut self) -> Option<impl Read + Send + use<>> {
        self.child.stdout.take()
    }

    /// Whether it still runs. Why it ended, it said itself.
    ///
    /// # Errors
    /// If it ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("waft up ended with {status}"),
        }
    }
}

impl Drop for Waft {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
