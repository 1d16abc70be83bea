//! The check of one HTTP/1 request head, byte by byte as it came: what another server on the way
//! could read differently is refused. What the bytes mean is left to hyper.

use crate::reason::Reason;

/// Most bytes of a request head. A component's own limit is lower as a rule.
pub(crate) const HEAD_BYTES: usize = 256 << 10;
/// Most header lines.
const HEADER_LINES: usize = 100;
/// Most bytes of a request target.
const TARGET_BYTES: usize = 65_534;

/// How the body behind a head is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// So many bytes; 0 = no body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Looks for the end of a head, from `from` on. Returns the position behind the empty line.
/// A head that ends in bare line feeds ends here too, so that it can be refused.
pub(crate) fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = leading_empty_lines(bytes);
    let mut at = from.max(start);
    while let Some(next) = bytes[at..].iter().position(|b| *b == b'\n') {
        at += next + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Whether these can be the first bytes of a head: those of a TLS handshake can't, and its client
/// would wait for the end of a head for ever.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    match &bytes[leading_empty_lines(bytes)..] {
        [] | [b'\r'] => true,
        [first, ..] => is_token(&[*first]),
    }
}

/// Empty lines that may precede a request line.
pub(crate) fn leading_empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

/// Checks a complete head, its closing empty line included.
pub(crate) fn check(head: &[u8]) -> Result<Framing, Reason> {
    let mut lines = Lines(&head[leading_empty_lines(head)..]);
    let http_1_1 = request_line(lines.next().ok_or(Reason::MalformedRequest)??)?;
    let mut length = None;
    let mut chunked = false;
    let mut hosts = 0;
    for (count, line) in lines.enumerate() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if count == HEADER_LINES {
            return Err(Reason::HeadersTooLarge);
        }
        let (name, value) = header_line(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Reason::InvalidContentLength);
            }
            length = Some(decimal(value).ok_or(Reason::InvalidContentLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !http_1_1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Reason::InvalidTransferEncoding);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        }
    }
    if hosts > 1 {
        return Err(Reason::InvalidHost);
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Reason::InvalidTransferEncoding),
        (true, None) => Ok(Framing::Chunked),
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// The lines of a head, without their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|b| *b == b'\n')?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        let Some(line) = line.strip_suffix(b"\r") else {
            return Some(Err(Reason::BareLineFeed));
        };
        if line.contains(&b'\r') {
            return Some(Err(Reason::BareCarriageReturn));
        }
        Some(Ok(line))
    }
}

/// Checks a request line; tells whether it is of HTTP/1.1 (and not 1.0).
fn request_line(line: &[u8]) -> Result<bool, Reason> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::MalformedRequest);
    };
    if !is_token(method) || target.is_empty() {
        return Err(Reason::MalformedRequest);
    }
    if target.len() > TARGET_BYTES {
        return Err(Reason::UriTooLong);
    }
    let plain = target[0] == b'/' && target.iter().all(|b| is_plain_target(*b));
    if !plain && http::Uri::try_from(target).is_err() {
        return Err(Reason::MalformedRequest);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Reason::MalformedRequest),
    }
}

/// Splits a header line into name and trimmed value.
fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Reason::ObsoleteFold);
    }
    let colon = line
        .iter()
        .position(|b| *b == b':')
        .ok_or(Reason::MalformedRequest)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A blank before the colon is no token either: RFC 9112, 5.1.
    let allowed = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    if !is_token(name) || !value.iter().all(allowed) {
        return Err(Reason::MalformedRequest);
    }
    Ok((name, value.trim_ascii()))
}

fn is_token(bytes: &[u8]) -> bool {
    let is_token_byte = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(is_token_byte)
}

/// Bytes of a target that need no second look.
fn is_plain_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._~%?&=+,:;@!$'()*-".contains(&byte)
}

/// Digits and nothing else: no sign, no list, no blank.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(head: &str) -> Result<Framing, Reason> {
        assert_eq!(find_end(head.as_bytes(), 0), Some(head.len()), "{head:?}");
        check(head.as_bytes())
    }

    #[test]
    fn plain_heads_pass() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
            ("\r\n\r\nGET /a?b=%20 HTTP/1.0\r\n\r\n", Framing::Length(0)),
            (
                "POST / HTTP/1.1\r\nContent-Length:  12 \r\n\r\n",
                Framing::Length(12),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n",
                Framing::Chunked,
            ),
            (
                "GET http://a.b:80/x HTTP/1.1\r\nHost: a.b\r\n\r\n",
                Framing::Length(0),
            ),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ];
        for (head, framing) in cases {
            assert_eq!(checked(head), Ok(framing), "{head:?}");
        }
    }

    #[test]
    fn doubtful_heads_are_refused() {
        let cases = [
            (
                "Content-Length: 3\r\nContent-Length: 4",
                Reason::InvalidContentLength,
            ),
            (
                "Content-Length: 3\r\nContent-Length: 3",
                Reason::InvalidContentLength,
            ),
            ("Content-Length: 3, 3", Reason::InvalidContentLength),
            ("Content-Length: +3", Reason::InvalidContentLength),
            ("Content-Length:", Reason::InvalidContentLength),
            (
                "Content-Length: 99999999999999999999",
                Reason::InvalidContentLength,
            ),
            (
                "Content-Length: 3\r\nTransfer-Encoding: chunked",
                Reason::InvalidTransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 3",
                Reason::InvalidTransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                Reason::InvalidTransferEncoding,
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                Reason::InvalidTransferEncoding,
            ),
            (
                "Transfer-Encoding: xchunked",
                Reason::InvalidTransferEncoding,
            ),
            ("a: b\rc: d", Reason::BareCarriageReturn),
            ("a: b\nc: d", Reason::BareLineFeed),
            ("a: b\r\n c", Reason::ObsoleteFold),
            ("a: b\r\n\tc", Reason::ObsoleteFold),
            ("a : b", Reason::MalformedRequest),
            ("a", Reason::MalformedRequest),
            (": b", Reason::MalformedRequest),
            ("a: b\0", Reason::MalformedRequest),
            ("Host: b", Reason::InvalidHost),
        ];
        for (lines, reason) in cases {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
            assert_eq!(checked(&head), Err(reason), "{lines:?}");
        }
    }

    #[test]
    fn request_lines_are_strict() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET /",
            "G@T / HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / http/1.1",
            "GET /\u{1} HTTP/1.1",
            "GET no-slash/x HTTP/1.1",
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(checked(&head), Err(Reason::MalformedRequest), "{line:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(TARGET_BYTES));
        assert_eq!(checked(&long), Err(Reason::UriTooLong));
        let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(checked(old), Err(Reason::InvalidTransferEncoding));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(checked(&many), Err(Reason::HeadersTooLarge));
    }

    #[test]
    fn the_end_is_found_wherever_the_reads_split() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for split in 0..head.len() {
            assert_eq!(find_end(&head[..split], 0), None);
            assert_eq!(
                find_end(head, split.saturating_sub(3)),
                Some(head.len()),
                "{split}"
            );
        }
    }
}
