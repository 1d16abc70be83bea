//! Components for tests: builds the workspace `guests/` for `wasm32-wasip2`, once per test process,
//! and says where each component is. Cargo's own lock orders processes that come at a time.
//!
//! Components made by other languages' toolchains are built by `tests/env/testenv install js py`,
//! because that takes minutes; [`foreign`] finds them.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A language whose toolchain makes components, other than Rust.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// By jco and componentize-js.
    JavaScript,
    /// By componentize-py.
    Python,
}

/// The marker in `hello-p2` that [`with_image_name`] replaces.
const IMAGE_MARKER: &[u8] = b"waft-image-name-";
/// Its length in the compiled file, dots included.
const IMAGE_LENGTH: usize = 96;

/// What guests are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// Guests that the toolchain's linker leaves as core modules, because it is older than what their
/// components need.
const CORE_MODULES: &[&str] = &[
    "labels-p2",
    "labels-p3",
    "named-p2",
    "namer-p2",
    "secret-p3",
    "seer-p2",
];

/// Path of a guest's component, for example `path("hello-p2")`.
///
/// # Panics
/// If it can't be built, with the compiler's words.
pub fn path(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(build);
    let path = folder.join(file(name));
    assert!(path.is_file(), "guests/ has no guest `{name}`");
    path
}

/// Bytes of a guest's component.
///
/// # Panics
/// As [`path`].
pub fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `hello-p2` that answers `name` on `/image`: a component of its own, with its own digest.
///
/// # Panics
/// As [`path`]; or if the name is longer than 96 bytes.
pub fn with_image_name(name: &str) -> Vec<u8> {
    let mut component = bytes("hello-p2");
    assert!(name.len() <= IMAGE_LENGTH, "`{name}` is too long");
    let at = component
        .windows(IMAGE_MARKER.len())
        .position(|window| window == IMAGE_MARKER)
        .expect("hello-p2 holds its marker");
    let place = &mut component[at..at + IMAGE_LENGTH];
    place.fill(b'.');
    place[..name.len()].copy_from_slice(name.as_bytes());
    component
}

/// The smallest core module: WebAssembly, but no component.
pub fn core_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}

/// The component made by another language's toolchain, or `None`, said on stderr, where it was not
/// built.
///
/// # Panics
/// If it was not built and `WAFT_REQUIRE_SERVERS` is set: then nothing may be skipped.
pub fn foreign(language: Language) -> Option<PathBuf> {
    let set = language.set();
    let path = test_home().join("guests").join(format!("{set}.wasm"));
    if path.is_file() {
        return Some(path);
    }
    skip(&format!(
        "no {language:?} component: run `tests/env/testenv install {set}`"
    ));
    None
}

/// Says on stderr that a test is skipped and why.
///
/// # Panics
/// If `WAFT_REQUIRE_SERVERS` is set: CI installs everything, so there nothing is skipped.
pub fn skip(why: &str) {
    assert!(
        env::var_os("WAFT_REQUIRE_SERVERS").is_none(),
        "WAFT_REQUIRE_SERVERS is set, but a test would be skipped: {why}"
    );
    eprintln!("skipped: {why}");
}

/// The folder into which `tests/env/testenv` installs: `$TESTENV_HOME`, or
/// `~/.cache/waft-testenv`.
pub fn test_home() -> PathBuf {
    env::var_os("TESTENV_HOME").map_or_else(
        || {
            let home = env::var_os("HOME").unwrap_or_default();
            PathBuf::from(home).join(".cache/waft-testenv")
        },
        PathBuf::from,
    )
}

/// Root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package lies two folders below the workspace")
}

impl Language {
    /// Its name as a set of `testenv install`.
    fn set(self) -> &'static str {
        match self {
            Self::JavaScript => "js",
            Self::Python => "py",
        }
    }
}

/// Builds all guests and gives the folder of the components.
fn build() -> PathBuf {
    let target = target_folder().join("guests");
    let guests = workspace().join("guests");
    add_target(&guests);
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&target)
        // Flags meant for this workspace's own code; guests have another target.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(&guests)
        .output()
        .unwrap_or_else(|error| panic!("cargo can't be started: {error}"));
    assert!(
        output.status.success(),
        "{} does not build. If the target is missing: rustup target add {TARGET}\n{}",
        guests.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let folder = target.join(TARGET).join("release");
    for name in CORE_MODULES {
        componentize(&folder, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    folder
}

/// Adds the guests' target to the toolchain. `rust-toolchain.toml` names it, but rustup heeds that only
/// when it installs the toolchain itself. Without rustup, or without network, the build says what is
/// missing.
fn add_target(guests: &Path) {
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(guests).output().ok()
    };
    let libraries = run("rustc", &["--print", "target-libdir", "--target", TARGET]);
    let libraries = libraries.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if libraries.is_some_and(|folder| !Path::new(folder.trim()).is_dir()) {
        let _ = run("rustup", &["target", "add", TARGET]);
    }
}

/// The file of a guest's component.
fn file(name: &str) -> String {
    let kind = if CORE_MODULES.contains(&name) {
        "component.wasm"
    } else {
        "wasm"
    };
    format!("{}.{kind}", name.replace('-', "_"))
}

/// Makes the component of a core module.
fn componentize(folder: &Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let module = fs::read(folder.join(format!("{}.wasm", name.replace('-', "_"))))?;
    let mut encoder = wit_component::ComponentEncoder::default();
    let component = encoder.module(&module)?.encode()?;
    // Other test processes may read it at the same time.
    let new = folder.join(format!("{name}.{}", std::process::id()));
    fs::write(&new, component)?;
    Ok(fs::rename(&new, folder.join(file(name)))?)
}

/// The target folder that holds the running test: cargo marks it with a cache tag.
fn target_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_is_a_component() {
        for name in [
            "hello-p2",
            "hello-p3",
            "echo-p2",
            "echo-p3",
            "config-p2",
            "logger-p2",
            "trap-p2",
            "spin-p2",
            "grow-p2",
            "unsupported-import-p2",
            "worker",
            "named-p2",
        ] {
            // Magic, then version 13 of layer 1, which marks a component.
            assert_eq!(&bytes(name)[..8], b"\0asm\x0d\0\x01\0", "{name}");
        }
        assert_eq!(&core_module()[..8], b"\0asm\x01\0\0\0");
    }

    #[test]
    fn image_names_tell_copies_apart() {
        let (one, two) = (with_image_name("one"), with_image_name("two"));
        assert_ne!(one, two);
        assert_eq!(one.len(), bytes("hello-p2").len());
    }
}
