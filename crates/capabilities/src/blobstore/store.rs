//! What a store of objects is, whichever it is: the wall between the interface and its backends.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use tokio::io::AsyncRead;

use super::staged::Staged;

/// Bytes of an object's name, or of a container's.
pub(crate) const NAME: usize = 1024;
/// Names in one answer of [`Container::list`].
pub(crate) const PAGE: usize = 1000;

/// Keeps containers, namespace by namespace.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// A container, made if it is not there.
    async fn create(&self, namespace: &str, name: &str) -> Result<Arc<dyn Container>, StoreError>;

    /// A container that is there.
    async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn Container>>, StoreError>;

    /// Deletes a container and all that is in it; one that is not there is no error.
    async fn delete(&self, namespace: &str, name: &str) -> Result<(), StoreError>;
}

/// Objects by name. What returns `Ok` is kept as well as the store keeps anything.
#[async_trait]
pub(crate) trait Container: Send + Sync {
    /// When it was made, in seconds since 1970.
    fn created(&self) -> u64;

    /// What is known of an object, if it is there.
    async fn info(&self, object: &str) -> Result<Option<Info>, StoreError>;

    /// Some bytes of an object, if it is there. An object that is replaced or deleted meanwhile is
    /// read to its end all the same, as far as the store can.
    async fn read(&self, object: &str, span: Span) -> Result<Option<Content>, StoreError>;

    /// Makes an object or replaces one: whoever reads finds the old or the new one, whole.
    async fn write(&self, object: &str, value: Staged) -> Result<(), StoreError>;

    /// Deletes objects; those that are not there are no error.
    async fn delete(&self, objects: &[String]) -> Result<(), StoreError>;

    /// The first names after this one, in their order of bytes: less than [`PAGE`] are the last.
    async fn list(&self, after: Option<&str>) -> Result<Vec<String>, StoreError>;

    /// Deletes all objects.
    async fn clear(&self) -> Result<(), StoreError> {
        loop {
            let names = self.list(None).await?;
            self.delete(&names).await?;
            if names.len() < PAGE {
                return Ok(());
            }
            // A store in memory never waits.
            tokio::task::yield_now().await;
        }
    }
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Info {
    /// When it was written, in seconds since 1970.
    pub(crate) created: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// Bytes to read.
pub(crate) struct Content {
    /// How many there are.
    pub(crate) size: u64,
    pub(crate) reader: Reader,
}

/// Where an object's bytes come from.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// From the first byte to the last, which belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Why a store did not do what a guest wanted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the namespace's containers hold as much as they may ({0} bytes)")]
    Full(u64),
    #[error("the values that the namespace writes at a time have more than {0} bytes")]
    Staging(u64),
    #[error("the component has {0} values and lists open, which is the most at a time")]
    TooMany(usize),
    #[error("the container `{0}` is not granted: name it in an entry of spec.hostInterfaces")]
    NotGranted(String),
    #[error(
        "the container `{0}` is granted without `container`: list it in `interfaces` of its entry"
    )]
    NotListed(String),
    #[error("the container `{0}` is only to be read: `config.read_only` of its entry says so")]
    ReadOnly(String),
    #[error("a name has more than {NAME} bytes, or none")]
    Name,
    #[error("the container is gone")]
    Gone,
    /// The container is of another namespace, or no container of ours.
    #[error("the container is not of this namespace")]
    NotOwned,
    /// In words fit for a guest.
    #[error("{0}")]
    Other(String),
}

impl Span {
    /// All of an object.
    pub(crate) const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// The first of so many bytes that belongs to it, and how many do.
    pub(crate) fn within(self, size: u64) -> (u64, u64) {
        let first = self.first.min(size);
        (
            first,
            self.last.saturating_add(1).min(size).max(first) - first,
        )
    }
}

/// Refuses a name that is empty or too long.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > NAME {
        return Err(StoreError::Name);
    }
    Ok(())
}

/// A name as a text may hold it, however long the guest says it.
pub(crate) fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(NAME)]
        .escape_debug()
        .to_string()
}

/// What a guest is told that reads an object at once.
pub(crate) fn unreadable(error: io::Error) -> StoreError {
    tracing::warn!("objects: {error}");
    StoreError::Other(format!("the object can't be read: {error}"))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shown_in_part() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"é".repeat(NAME)), "é".repeat(NAME / 2));
    }

    #[test]
    fn spans_end_with_the_object() {
        let within = |first, last, size| Span { first, last }.within(size);
        assert_eq!(within(0, u64::MAX, 5), (0, 5));
        assert_eq!(within(0, 0, 5), (0, 1));
        assert_eq!(within(1, 3, 5), (1, 3));
        assert_eq!(within(4, 9, 5), (4, 1));
        assert_eq!(within(5, 9, 5), (5, 0));
        assert_eq!(within(9, 12, 5), (5, 0));
        assert_eq!(within(3, 2, 5), (3, 0));
        assert_eq!(within(0, u64::MAX, 0), (0, 0));
    }
}
