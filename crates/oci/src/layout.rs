//! Images in an OCI layout folder: `oci:DIRECTORY`, `oci:DIRECTORY:TAG`, `oci:DIRECTORY@DIGEST`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use waft_ir::{Failure, FailureReason};

use crate::{
    digest::Digest,
    files::{self, FileRoots},
    manifest::{self, Descriptor, Document},
};

/// Largest manifest or index.
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How a layout's index names its tags.
const TAG: &str = "org.opencontainers.image.ref.name";

/// What a layout holds under a reference.
pub(crate) struct Found {
    /// Digest of what the reference names.
    pub(crate) digest: Digest,
    /// Digest of the bytes.
    pub(crate) content: Digest,
    /// The component.
    pub(crate) bytes: Bytes,
}

/// Which of a layout's images is wanted.
#[derive(Clone, Debug, PartialEq)]
enum Selector {
    Only,
    Tag(String),
    Digest(Digest),
}

/// Reads from a layout folder.
pub(crate) fn read(
    roots: &FileRoots,
    target: &str,
    limit: u64,
    reference: &str,
) -> Result<Found, Failure> {
    let (dir, selector) = locate(roots, target, reference)?;
    let layout = Layout {
        roots,
        dir: &dir,
        reference,
    };
    let index = match layout.document("index.json")? {
        Document::Index(entries) => entries,
        Document::Manifest(_) => {
            return Err(layout.broken("its index.json is a manifest, not an index"));
        }
    };
    let top = layout.select(&index, &selector)?;
    let digest = top.digest().map_err(|e| layout.broken(&e))?;
    let layers = match layout.document_of(digest)? {
        Document::Manifest(layers) => layers,
        Document::Index(entries) => {
            let entry = manifest::choose_manifest(&entries).map_err(|e| layout.unsuitable(&e))?;
            match layout.document_of(entry.digest().map_err(|e| layout.broken(&e))?)? {
                Document::Manifest(layers) => layers,
                Document::Index(_) => return Err(layout.broken("its index points to an index")),
            }
        }
    };
    let layer = manifest::choose_layer(&layers).map_err(|e| layout.unsuitable(&e))?;
    let content = layer.digest().map_err(|e| layout.broken(&e))?;
    Ok(Found {
        digest,
        content,
        bytes: layout.blob(content, limit)?,
    })
}

/// Splits a target into folder and selector. A colon may belong to the folder's name, so a folder
/// that exists under the whole text wins.
fn locate(
    roots: &FileRoots,
    target: &str,
    reference: &str,
) -> Result<(PathBuf, Selector), Failure> {
    if let Some((path, digest)) = target.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return Ok((roots.find(path, reference)?, Selector::Digest(digest)));
    }
    let whole = roots.find(target, reference);
    match target.rsplit_once(':') {
        Some((path, tag)) if whole.is_err() && !tag.contains('/') => {
            let selector = Selector::Tag(tag.into());
            Ok((roots.find(path, reference)?, selector))
        }
        _ => Ok((whole?, Selector::Only)),
    }
}

/// One open layout.
struct Layout<'a> {
    roots: &'a FileRoots,
    dir: &'a Path,
    reference: &'a str,
}

impl Layout<'_> {
    fn file(&self, path: &str, limit: u64) -> Result<Bytes, Failure> {
        // Looked for again, because a file of the layout may be a link to somewhere else.
        let path = self.dir.join(path).display().to_string();
        let path = self.roots.find(&path, self.reference)?;
        files::read(&path, limit, self.reference)
    }

    fn blob(&self, digest: Digest, limit: u64) -> Result<Bytes, Failure> {
        let bytes = self.file(&format!("blobs/sha256/{}", digest.hex()), limit)?;
        if Digest::of(&bytes) == digest {
            return Ok(bytes);
        }
        Err(Failure::new(
            FailureReason::DigestMismatch,
            format!(
                "`{}`: the bytes of `{digest}` in the layout hash to something else; \
                 write the layout again",
                self.reference
            ),
        ))
    }

    fn document(&self, path: &str) -> Result<Document, Failure> {
        let bytes = self.file(path, DOCUMENT_LIMIT)?;
        Document::parse(&bytes).map_err(|e| self.broken(&e))
    }

    fn document_of(&self, digest: Digest) -> Result<Document, Failure> {
        let bytes = self.blob(digest, DOCUMENT_LIMIT)?;
        Document::parse(&bytes).map_err(|e| self.broken(&e))
    }

    fn select<'d>(
        &self,
        entries: &'d [Descriptor],
        selector: &Selector,
    ) -> Result<&'d Descriptor, Failure> {
        let tag_of = |entry: &'d Descriptor| entry.annotations.get(TAG).map(String::as_str);
        let found = match selector {
            Selector::Digest(digest) => entries.iter().find(|e| e.digest() == Ok(*digest)),
            Selector::Tag(tag) => entries.iter().find(|e| tag_of(e) == Some(tag)),
            Selector::Only if entries.len() == 1 => entries.first(),
            Selector::Only => entries.iter().find(|e| tag_of(e) == Some("latest")),
        };
        found.ok_or_else(|| {
            let tags: Vec<_> = entries.iter().filter_map(tag_of).collect();
            let held = match tags.is_empty() {
                true => "it names none".into(),
                false => format!("it has {}", tags.join(", ")),
            };
            let message = match selector {
                Selector::Only => format!("has several images; add `:TAG` ({held})"),
                _ => format!("is not in that layout ({held})"),
            };
            Failure::new(
                FailureReason::ImageNotFound,
                format!("`{}` {message}", self.reference),
            )
        })
    }

    fn broken(&self, why: &str) -> Failure {
        let message = format!("`{}` is no usable OCI layout: {why}", self.reference);
        Failure::new(FailureReason::ImageNotFound, message)
    }

    fn unsuitable(&self, why: &str) -> Failure {
        let message = format!("`{}`: {why}", self.reference);
        Failure::new(FailureReason::NotWasm, message)
    }
}

#[cfg(test)]
mod tests;
