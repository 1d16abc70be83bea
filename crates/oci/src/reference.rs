//! The three forms of an image reference: a registry's, `file:PATH`, `oci:DIRECTORY`.

use oci_client::Reference;
use waft_ir::{Failure, FailureReason};

use crate::digest::Digest;

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A registry, by tag or digest. Docker's short names are written out.
    Registry(Reference),
    /// A file with the component's bytes.
    File(String),
    /// A folder in OCI image layout, possibly followed by `:TAG` or `@DIGEST`. Where the path ends
    /// can only be said with the folder at hand.
    Layout(String),
}

/// Reads a reference.
pub(crate) fn parse(text: &str) -> Result<Source, Failure> {
    if let Some(path) = text.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => Err(invalid(text, "the path is empty")),
            path => Ok(Source::File(path.into())),
        };
    }
    if let Some(path) = text.strip_prefix("oci:") {
        let path = match path.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            // Helm and others write registry references so; here `oci:` is a folder.
            Some(_) => return Err(invalid(text, "leave `oci://` away to name a registry")),
            None => path,
        };
        return match path {
            "" => Err(invalid(text, "the path is empty")),
            path => Ok(Source::Layout(path.into())),
        };
    }
    if text.contains("://") {
        return Err(invalid(text, "a reference has no URL scheme"));
    }
    let reference: Reference = text.parse().map_err(|e| invalid(text, &format!("{e}")))?;
    if let Some(digest) = reference.digest()
        && digest.parse::<Digest>().is_err()
    {
        return Err(invalid(
            text,
            "a digest is `sha256:` and 64 hexadecimal digits in lower case",
        ));
    }
    Ok(Source::Registry(reference))
}

/// The failure of a text that is no reference.
fn invalid(text: &str, why: &str) -> Failure {
    Failure::new(
        FailureReason::InvalidImageReference,
        format!(
            "`{text}` is not an image reference: {why}; expected `HOST/REPOSITORY:TAG`, \
             `HOST/REPOSITORY@sha256:…`, `file:PATH` or `oci:DIRECTORY`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        let registry = |text: &str| match parse(text).unwrap() {
            Source::Registry(reference) => reference.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(registry("hello"), "docker.io/library/hello:latest");
        assert_eq!(registry("me/hello:1"), "docker.io/me/hello:1");
        assert_eq!(registry("ghcr.io/a/b:v1"), "ghcr.io/a/b:v1");
        assert_eq!(registry("localhost:5000/a"), "localhost:5000/a:latest");
        let file = |path: &str| Ok(Source::File(path.into()));
        assert_eq!(parse("file:hello.wasm"), file("hello.wasm"));
        assert_eq!(parse("file:./a/b.wasm"), file("./a/b.wasm"));
        assert_eq!(parse("file:///a/b.wasm"), file("/a/b.wasm"));
        let layout = |path: &str| Ok(Source::Layout(path.into()));
        assert_eq!(parse("oci:dir:v1"), layout("dir:v1"));
        assert_eq!(parse("oci:///dir"), layout("/dir"));
    }

    #[test]
    fn what_is_no_reference_says_why() {
        let hex = "A".repeat(64);
        for (text, why) in [
            ("", "at least one component"),
            ("Hello World", "invalid reference format"),
            ("https://ghcr.io/a/b", "no URL scheme"),
            ("oci://ghcr.io/a/b", "leave `oci://` away"),
            ("file:", "path is empty"),
            ("oci:", "path is empty"),
            (&format!("a@sha256:{hex}"), "lower case"),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.reason, FailureReason::InvalidImageReference);
            assert!(failure.message.contains(why), "{text}: {}", failure.message);
        }
    }
}
