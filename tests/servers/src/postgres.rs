//! PostgreSQL, which takes a folder that was prepared for it and won't run as root.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The user that the Debian package makes.
const USER: &str = "postgres";

/// Makes the folder `data` in a folder; whether PostgreSQL is installed.
pub(crate) fn prepare(folder: &Path) -> bool {
    let Some(mut init) = command("initdb") else {
        return false;
    };
    // Its user may go through the folder of the test to its own.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("our own folder");
    let data = folder.join("data");
    if is_root() {
        let made = Command::new("install")
            .args(["-d", "-o", USER])
            .arg(&data)
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "a folder for {USER}"
        );
    }
    // What it writes is gone with the test: that it reaches the disk need not be waited for.
    let output = init
        .args(["-D", &data.display().to_string()])
        .args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("initdb is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb: {said}");
    true
}

/// Has it encrypt, with a certificate and its key in PEM.
pub(crate) fn encrypt(folder: &Path, certificate: &str, key: &str) {
    let data = folder.join("data");
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let source = folder.join(name);
        fs::write(&source, text).expect("our own folder");
        // It takes a key that only its own user can read.
        let mut install = Command::new("install");
        install.args(["-m", "600"]);
        if is_root() {
            install.args(["-o", USER]);
        }
        let made = install.arg(&source).arg(&data).status();
        assert!(made.is_ok_and(|status| status.success()), "{name}");
    }
    let mut settings = fs::OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .expect("initdb made it");
    settings.write_all(b"ssl = on\n").expect("our own file");
}

/// A program of PostgreSQL, as a user that may run it.
pub(crate) fn command(program: &str) -> Option<Command> {
    let path = newest()?.join(program);
    if !is_root() {
        return Some(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--init-groups"])
        .arg(path);
    Some(command)
}

/// The folder of the newest version's programs, which Debian keeps apart from all others.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let folder = versions
        .map(|entry| entry.path())
        .max_by_key(|path| version(path))?;
    let programs = folder.join("bin");
    programs.join("postgres").is_file().then_some(programs)
}

fn is_root() -> bool {
    let me = Command::new("id").arg("-u").output();
    me.is_ok_and(|output| output.stdout == b"0\n")
}

/// Whether a server that was just connected to takes its user: one that still starts refuses.
pub(crate) fn lets_in(mut connection: TcpStream) -> bool {
    let parameters = format!("user\0{USER}\0database\0{USER}\0\0");
    let length = u32::try_from(parameters.len() + 8).expect("it is short");
    // The version of the protocol is 3.0.
    let message = [
        &length.to_be_bytes()[..],
        &[0, 3, 0, 0],
        parameters.as_bytes(),
    ];
    let mut answer = [0];
    connection.write_all(&message.concat()).is_ok()
        && connection.read_exact(&mut answer).is_ok()
        && answer == *b"R"
}
