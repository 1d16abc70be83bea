//! Docker's credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere.

use std::{process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Credential, config::login};

/// Longest wait for a helper, which may ask the user to unlock something.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for a server's credential; `None` if it has none.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, String> {
    // A name with a slash would be a path, not a program to look for.
    if name.contains('/') {
        return Err(format!("`{name}` is not the name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    let answer = tokio::time::timeout(TIMEOUT, run(&program, server)).await;
    answer.unwrap_or_else(|_| Err(format!("`{program}` did not answer in time")))
}

pub(super) async fn run(program: &str, server: &str) -> Result<Option<Credential>, String> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("`{program}` can't be run: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that answers without reading closes the pipe, which is no error.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let output = child.wait_with_output().await;
    let output = output.map_err(|e| format!("`{program}` can't be read: {e}"))?;
    if !output.status.success() {
        // All helpers say "not found" on standard output, in words of about this kind.
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("not found") {
            return Ok(None);
        }
        return Err(format!("`{program}` failed ({})", output.status));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("`{program}` answered something else than JSON"))?;
    Ok(Some(login(&answer.username, &answer.secret)))
}
