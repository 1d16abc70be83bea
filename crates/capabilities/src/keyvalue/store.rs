//! What a store is, whichever it is: the wall between the interface and its backends.

use std::sync::Arc;

use async_trait::async_trait;

/// Bytes of a key, or of a bucket's name.
pub(crate) const NAME: usize = 1024;
/// Keys in one call.
pub(crate) const KEYS: usize = 10_000;

/// Keeps buckets, namespace by namespace.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// A bucket, made when it is first named. Who may name it has been checked, as far as the
    /// manifest goes; whose it is says the store.
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError>;
}

/// Keys and values. What returns `Ok` is kept as well as the store keeps anything.
#[async_trait]
pub(crate) trait Bucket: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values of keys, each named once, in their order. Reads no further once they have more bytes
    /// than `most`.
    async fn get_many(
        &self,
        keys: &[String],
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Whether there is a value.
    async fn exists(&self, key: &str) -> Result<bool, StoreError>;

    /// Sets all of them, or none; where the store can't, some may be set when it fails.
    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError>;

    /// Removes keys; those that are not there are no error.
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError>;

    /// Adds to a counter and gives the sum, in one step. A counter is a number in decimal digits, as
    /// they are written: without a sign and zeros before it. A key that is not there counts as 0. What
    /// is refused changes nothing.
    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError>;

    /// Some keys, and where to go on. Without a cursor from the start.
    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError>;
}

/// Why a store did not do what a guest wanted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the namespace's buckets hold as much as they may ({0} bytes)")]
    Full(usize),
    #[error("the values together have more than {0} bytes")]
    LargeAnswer(usize),
    #[error("one call names more than {KEYS} keys")]
    ManyKeys,
    #[error("a key or name has more than {NAME} bytes")]
    LongName,
    #[error(
        "the value is no counter: a number in decimal digits, without a sign and zeros before it"
    )]
    NoCounter,
    #[error("the counter would be too large")]
    Overflow,
    /// The bucket is of another namespace, or no bucket of ours.
    #[error("the bucket is not of this namespace")]
    NotOwned,
    /// No entry that grants the bucket lists the interface.
    #[error("the bucket is not granted to this interface")]
    NotGranted,
    /// In words fit for a guest.
    #[error("{0}")]
    Other(String),
}

/// Refuses a key or name that is too long.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    if name.len() > NAME {
        return Err(StoreError::LongName);
    }
    Ok(())
}

/// Refuses more keys than one call may name.
pub(crate) fn check_count<T>(keys: &[T]) -> Result<(), StoreError> {
    if keys.len() > KEYS {
        return Err(StoreError::ManyKeys);
    }
    Ok(())
}

/// Takes the bytes of a value from those that an answer of `most` may still have.
pub(crate) fn spend(left: &mut usize, value: Option<&[u8]>, most: usize) -> Result<(), StoreError> {
    let bytes = value.map_or(0, <[u8]>::len);
    *left = left
        .checked_sub(bytes)
        .ok_or(StoreError::LargeAnswer(most))?;
    Ok(())
}

/// The value of a counter after an addition.
pub(crate) fn add(value: &[u8], delta: u64) -> Result<u64, StoreError> {
    let is_counter = match value {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = str::from_utf8(value).ok().filter(|_| is_counter);
    let number = text.ok_or(StoreError::NoCounter)?.parse::<u64>();
    let sum = number.ok().and_then(|number| number.checked_add(delta));
    sum.ok_or(StoreError::Overflow)
}
