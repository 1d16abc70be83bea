//! Where a request body ends, so that the next head is looked at as one. Follows the bytes only;
//! decoding them is left to hyper.

use super::head::Framing;

/// How much of a body is still to come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Remaining {
    /// So many bytes.
    Length(u64),
    /// Chunks; the state says where in them.
    Chunked(Chunk),
    /// Nothing: the next byte is of the next head.
    Nothing,
    /// The chunks are malformed. Nothing after this can be told apart; hyper will end the
    /// connection when it gets here.
    Lost,
}

/// A place in a chunked body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Chunk {
    /// In the size, so far this, with so many digits.
    Size(u64, u8),
    /// Behind the size, in a chunk extension.
    Extension(u64),
    /// Behind the carriage return of the size line.
    SizeEnd(u64),
    /// In the data, so many bytes left.
    Data(u64),
    /// Behind the data, before its carriage return.
    DataEnd,
    /// Before the line feed that ends the data.
    DataFeed,
    /// In a trailer line, of which so many bytes were seen.
    Trailer(u32),
    /// Behind a carriage return in the trailers; whether the line was empty.
    TrailerFeed(bool),
}

impl From<Framing> for Remaining {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Nothing,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunk::Size(0, 0)),
        }
    }
}

impl Remaining {
    /// Follows `bytes`; returns how many of them still belong to the body.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Lost => bytes.len(),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |l| l.min(bytes.len()));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Nothing;
                }
                taken
            }
            Self::Chunked(_) => self.advance_chunks(bytes),
        }
    }

    fn advance_chunks(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let Self::Chunked(chunk) = self else {
                break;
            };
            if let Chunk::Data(left) = chunk {
                let rest = bytes.len() - at;
                let taken = usize::try_from(*left).map_or(rest, |l| l.min(rest));
                *left -= taken as u64;
                at += taken;
                if *left == 0 {
                    *chunk = Chunk::DataEnd;
                }
                continue;
            }
            *self = chunk.step(bytes[at]);
            at += 1;
        }
        if *self == Self::Lost { bytes.len() } else { at }
    }
}

impl Chunk {
    /// The state behind one byte that is not data.
    fn step(&self, byte: u8) -> Remaining {
        let next = match (self, byte) {
            // More than 16 digits is no size that fits.
            (Self::Size(size, digits), b) if b.is_ascii_hexdigit() && *digits < 16 => {
                let digit = char::from(b).to_digit(16).unwrap_or_default();
                Self::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (Self::Size(size, 1..), b';' | b' ' | b'\t') => Self::Extension(*size),
            (Self::Size(size, 1..), b'\r') | (Self::Extension(size), b'\r') => Self::SizeEnd(*size),
            (Self::Extension(size), b) if b != b'\n' => Self::Extension(*size),
            (Self::SizeEnd(0), b'\n') => Self::Trailer(0),
            (Self::SizeEnd(size), b'\n') => Self::Data(*size),
            (Self::DataEnd, b'\r') => Self::DataFeed,
            (Self::DataFeed, b'\n') => Self::Size(0, 0),
            (Self::Trailer(seen), b'\r') => Self::TrailerFeed(*seen == 0),
            (Self::Trailer(seen), b) if b != b'\n' => Self::Trailer(seen.saturating_add(1)),
            (Self::TrailerFeed(true), b'\n') => return Remaining::Nothing,
            (Self::TrailerFeed(false), b'\n') => Self::Trailer(0),
            _ => return Remaining::Lost,
        };
        Remaining::Chunked(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` followed by other bytes, in pieces of each size; all of the body and none of
    /// the rest must be taken.
    fn takes_exactly(framing: Framing, body: &[u8]) {
        let mut wire = body.to_vec();
        wire.extend_from_slice(b"GET / HTTP/1.1");
        for piece in 1..=wire.len() {
            let mut remaining = Remaining::from(framing);
            let mut taken = 0;
            for bytes in wire.chunks(piece) {
                let of_body = remaining.advance(bytes);
                taken += of_body;
                if of_body < bytes.len() {
                    break;
                }
            }
            assert_eq!(taken, body.len(), "in pieces of {piece}");
            assert_eq!(remaining, Remaining::Nothing);
        }
    }

    #[test]
    fn bodies_end_where_they_end() {
        takes_exactly(Framing::Length(0), b"");
        takes_exactly(Framing::Length(5), b"hello");
        takes_exactly(Framing::Chunked, b"0\r\n\r\n");
        takes_exactly(
            Framing::Chunked,
            b"5\r\nhello\r\n00a;x=y\r\n0123\r\n6789\r\n0\r\nt: u\r\nv: w\r\n\r\n",
        );
    }

    #[test]
    fn malformed_chunks_lose_the_place() {
        let cases: [&[u8]; 6] = [
            b"\r\n",
            b"g\r\n",
            b"5\nhello\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"10000000000000000\r\n",
        ];
        for body in cases {
            let mut remaining = Remaining::from(Framing::Chunked);
            assert_eq!(remaining.advance(body), body.len());
            assert_eq!(remaining, Remaining::Lost, "{body:?}");
        }
    }
}
