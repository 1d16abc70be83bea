//! Reads sources: files, folders, standard input, addresses.

use std::{
    error::Error,
    io::Read,
    path::{Path, PathBuf},
};

use super::{ManifestError, Manifests, Object, Source, parse, paths, sort, wasm};

/// Most bytes of one manifest: far above what the API takes, low enough to fail soon on a wrong
/// file.
const MAX_BYTES: u64 = 64 << 20;

/// Reads and parses all sources. Relative paths count from `working_dir`.
pub async fn load(sources: &[Source], working_dir: &Path) -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    for source in sources {
        match source {
            Source::Path(path) => from_path(&working_dir.join(path), &mut manifests)?,
            Source::Stdin => {
                let text = read_text(std::io::stdin().lock(), "standard input")?;
                manifests
                    .objects
                    .extend(parse(&text, "standard input", working_dir)?);
            }
            Source::Url(url) => {
                let text = download(url).await?;
                manifests
                    .objects
                    .extend(parse(&text, url.as_str(), working_dir)?);
            }
        }
    }
    sort(&mut manifests.objects);
    manifests.folders.sort();
    manifests.folders.dedup();
    let named = manifests
        .objects
        .iter()
        .flat_map(|object| paths::image_paths(&object.value));
    manifests.files.extend(named.collect::<Vec<_>>());
    manifests.files.sort();
    manifests.files.dedup();
    Ok(manifests)
}

/// Adds what a file or folder holds.
fn from_path(path: &Path, manifests: &mut Manifests) -> Result<(), ManifestError> {
    let origin = path.display().to_string();
    let path = path.canonicalize().map_err(unreadable(&origin))?;
    if path.is_dir() {
        manifests.folders.push(path.clone());
        let files = manifest_files(&path)?;
        if files.is_empty() {
            manifests.empty = Some(origin.into());
        }
        for file in files {
            manifests.objects.extend(from_file(&file)?);
            manifests.files.push(file);
        }
        // Files that come later belong to the set as well.
        manifests.files.push(path);
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        manifests.folders.push(folder.to_owned());
    }
    if ending(&path) == "wasm" {
        manifests.objects.push(wasm::deployment(&path)?);
    } else {
        manifests.objects.extend(from_file(&path)?);
    }
    manifests.files.push(path);
    Ok(())
}

/// The objects of one manifest file.
fn from_file(path: &Path) -> Result<Vec<Object>, ManifestError> {
    let origin = path.display().to_string();
    let file = std::fs::File::open(path).map_err(unreadable(&origin))?;
    let text = read_text(file, &origin)?;
    parse(&text, &origin, path.parent().unwrap_or(Path::new("/")))
}

/// The manifests of a folder, by name, not of the folders below: as kubectl has it.
fn manifest_files(folder: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let origin = folder.display().to_string();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(&origin))? {
        let path = entry.map_err(unreadable(&origin))?.path();
        if path.is_file() && matches!(ending(&path).as_str(), "yaml" | "yml" | "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What stands after the last dot of a file's name, in lower case.
fn ending(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_ascii_lowercase()
}

/// Reads a text of bounded length.
fn read_text(reader: impl Read, origin: &str) -> Result<String, ManifestError> {
    let mut bytes = Vec::new();
    let read = reader
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable(origin))?;
    if read as u64 > MAX_BYTES {
        return Err(too_large(origin));
    }
    as_text(bytes, origin)
}

/// The text that some bytes are.
fn as_text(bytes: Vec<u8>, origin: &str) -> Result<String, ManifestError> {
    let no_manifest = |why: &str| ManifestError::NotAnObject {
        origin: origin.into(),
        message: format!("this is no manifest: {why}"),
    };
    if bytes.starts_with(b"\0asm") {
        let why = "it is WebAssembly, which is taken from a file with the ending .wasm";
        return Err(no_manifest(why));
    }
    String::from_utf8(bytes).map_err(|_| no_manifest("it is no text"))
}

fn too_large(origin: &str) -> ManifestError {
    ManifestError::Unreadable {
        origin: origin.into(),
        message: format!("larger than {} MiB", MAX_BYTES >> 20),
    }
}

/// Fetches a manifest of bounded length.
async fn download(url: &url::Url) -> Result<String, ManifestError> {
    let failed = |error: reqwest::Error| ManifestError::Unreadable {
        origin: url.to_string(),
        message: with_causes(&error.without_url()),
    };
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30));
    let client = client.build().map_err(failed)?;
    let answer = client.get(url.clone()).send().await.map_err(failed)?;
    let mut answer = answer.error_for_status().map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if (bytes.len() + piece.len()) as u64 > MAX_BYTES {
            return Err(too_large(url.as_str()));
        }
        bytes.extend_from_slice(&piece);
    }
    as_text(bytes, url.as_str())
}

/// An error and what lies below it: the first alone rarely says what happened.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

/// Puts the source into an error of the system.
fn unreadable(origin: &str) -> impl Fn(std::io::Error) -> ManifestError {
    let origin = origin.to_owned();
    move |error| ManifestError::Unreadable {
        origin: origin.clone(),
        message: error.to_string(),
    }
}
