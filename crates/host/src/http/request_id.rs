//! The id of a request: the client's own if it is fit for a log line, else a fresh one.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderName};

/// The header that carries it.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over.
const LONGEST: usize = 128;

/// Differs between processes, so that ids in kept logs don't repeat.
static PROCESS: LazyLock<u64> = LazyLock::new(|| {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    high ^ low
});
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(super) fn of(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    match given {
        Some(id) if is_sane(id) => id.into(),
        _ => fresh(),
    }
}

fn is_sane(id: &str) -> bool {
    let is_sane = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b);
    !id.is_empty() && id != "-" && id.len() <= LONGEST && id.bytes().all(is_sane)
}

/// One that no request of this process has had.
pub(crate) fn fresh() -> Arc<str> {
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    // An odd factor maps counts one to one onto well spread numbers.
    let id = (*PROCESS).wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits: [u8; 16] = std::array::from_fn(|at| DIGITS[(id >> (60 - 4 * at) & 15) as usize]);
    std::str::from_utf8(&digits).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(value).unwrap());
            of(&headers)
        };
        assert_eq!(&*id("a-1_b.c"), "a-1_b.c");
        for bad in ["", "-", "a b", "a\tb", &"x".repeat(129)] {
            let fresh = id(bad);
            assert_ne!(&*fresh, bad);
            assert_eq!(fresh.len(), 16);
        }
    }

    #[test]
    fn fresh_ids_differ() {
        let ids: HashSet<_> = (0..1000).map(|_| fresh()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
