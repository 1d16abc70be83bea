//! Compiled code on disk, by the hash of the wasm and of the engine's settings.
//!
//! An entry is two files in a folder that only the user can enter: the code, and the hash of the
//! code. Both appear by renaming, so that other processes see whole files; a pair that does not
//! match is compiled again. The folder is the user's own: the hash guards against damage, not
//! against somebody who can write there, so that it is a fast one (XXH3, 128 bits).
//!
//! When the folder grows past its bound, what was not used for longest goes: the time of the hash's
//! file says when that was. Code that is mapped stays mapped.

mod trim;

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;
use tracing::{debug, warn};
use wasmtime::{Engine, component::Component};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The hash of a component's bytes.
pub(crate) type WasmHash = [u8; 32];

/// What the names of the files with the hashes end with.
const SUM: &str = "xxh3";

/// Least time between two notes that an entry was used: each is a write.
const USED_AGAIN: Duration = Duration::from_secs(3600);

/// The cache folder.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Most bytes of all entries.
    bound: u64,
    engine: u64,
}

impl Cache {
    /// Opens the folder, making it if need be. A folder that others can enter is closed to them.
    pub(crate) fn open(folder: PathBuf, bound: u64, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut permissions = fs::metadata(&folder)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            permissions.set_mode(0o700);
            fs::set_permissions(&folder, permissions)?;
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder,
            bound,
            engine: hasher.finish(),
        })
    }

    /// The component, if its code is here and whole.
    pub(crate) fn load(&self, engine: &Engine, wasm: &WasmHash) -> Option<Component> {
        let code = self.code(wasm);
        let sum = sum_of(&code);
        let expected = fs::read_to_string(&sum).ok()?;
        match hash_file(&code) {
            Ok(found) if found == expected => {}
            Ok(_) => {
                warn!(path = %code.display(), "cached code is damaged; compiling again");
                return None;
            }
            Err(error) => {
                debug!(path = %code.display(), %error, "no cached code");
                return None;
            }
        }
        note_use(&sum);
        // SAFETY: the file was written by `store` from `Component::serialize` under this engine's
        // settings, which is what its name says; its content was just compared with the hash noted
        // then; and the folder is closed to other users. wasmtime maps it and checks its header.
        #[allow(unsafe_code, reason = "mapping compiled code is unsafe by nature")]
        let loaded = unsafe { Component::deserialize_file(engine, &code) };
        loaded
            .inspect_err(|error| warn!(path = %code.display(), "cached code is unusable: {error}"))
            .ok()
    }

    /// Keeps a component's code. A cache that can't be written costs time, nothing else, so that
    /// failing is only said.
    pub(crate) fn store(&self, component: &Component, wasm: &WasmHash) {
        let path = self.code(wasm);
        let result = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| {
                self.write(&path, &code)?;
                self.write(&sum_of(&path), sum_text(xxh3_128(&code)).as_bytes())
            });
        let result = result.and_then(|()| trim::trim(&self.folder, self.bound, &path));
        if let Err(error) = result {
            warn!(path = %path.display(), %error, "can't keep compiled code");
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    }

    fn code(&self, wasm: &WasmHash) -> PathBuf {
        let name = format!("{}-{:016x}.cwasm", hex(wasm), self.engine);
        self.folder.join(name)
    }
}

fn sum_of(code: &Path) -> PathBuf {
    code.with_extension(SUM)
}

/// Notes that an entry was used. Failing costs that entry its place, at worst.
fn note_use(sum: &Path) {
    let modified = fs::metadata(sum).and_then(|found| found.modified());
    let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > USED_AGAIN));
    if is_old && let Ok(file) = fs::File::options().append(true).open(sum) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sum_text(hasher.digest128())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn sum_text(sum: u128) -> String {
    format!("{sum:032x}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
