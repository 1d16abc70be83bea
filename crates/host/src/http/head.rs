//! The check of one HTTP/1 request head, byte by byte as it came: what another server on the way
//! could read differently is refused. What the bytes mean is left to hyper.

use crate::reason::Reason;

/// Most bytes of a request head. A component's own limit is lower as a rule.
pub(crate) const HEAD_BYTES: usize = 256 << 10;
/// Most header lines.
pub(crate) const HEADER_LINES: usize = 100;
/// Most bytes of a header's name: hyper takes no more.
const NAME_BYTES: usize = 65_535;
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
    if !plain && !is_target(method, target) {
        return Err(Reason::MalformedRequest);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Reason::MalformedRequest),
    }
}

/// Whether a target has a form that the method may have. An authority alone is for tunnels: RFC 9112,
/// 3.2.3.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    http::Uri::try_from(target).is_ok_and(|uri| {
        let is_authority = uri.authority().is_some() && uri.scheme().is_none();
        !is_authority || method == b"CONNECT"
    })
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
    if name.len() > NAME_BYTES {
        return Err(Reason::HeadersTooLarge);
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
mod tests;
