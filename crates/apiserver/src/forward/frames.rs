//! SPDY/3.1 frames, as much of them as port forwarding uses.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::compression::{Deflater, Inflater};

/// The largest frame that is read.
const LIMIT: usize = 1 << 20;

const FIN: u8 = 1;

/// Headers by name.
pub(super) type Headers = Vec<(String, String)>;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    Open {
        stream: u32,
        headers: Headers,
        fin: bool,
    },
    /// The answer to a new stream.
    Reply { stream: u32, headers: Headers },
    /// Bytes of a stream; `fin`: its last.
    Data { stream: u32, data: Bytes, fin: bool },
    /// A stream ends at once.
    Reset { stream: u32, code: u32 },
    /// Is answered by itself.
    Ping(u32),
    /// The connection ends.
    GoAway,
    /// Something that needs no answer.
    Other,
}

/// A connection that doesn't speak SPDY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Finds frames in a stream of bytes.
pub(super) struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            buffer: BytesMut::new(),
            inflater: Inflater::new(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if self.buffer.len() < 8 {
            return Ok(None);
        }
        let length = (&self.buffer[4..8]).get_u32();
        let (flags, length) = (length.to_be_bytes()[0], (length & 0xff_ffff) as usize);
        if length > LIMIT {
            return Err(Broken);
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let head = self.buffer.split_to(8).get_u32();
        let mut body = self.buffer.split_to(length).freeze();
        let fin = flags & FIN != 0;
        if head & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data {
                stream: head,
                data: body,
                fin,
            }));
        }
        if (head >> 16) & 0x7fff != 3 {
            return Err(Broken);
        }
        let kind = head & 0xffff;
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| Broken);
        Ok(Some(match kind {
            1 => {
                let stream = number(&mut body)? & 0x7fff_ffff;
                if body.len() < 6 {
                    return Err(Broken);
                }
                body.advance(6);
                Frame::Open {
                    stream,
                    headers: self.headers(&body)?,
                    fin,
                }
            }
            2 => {
                let stream = number(&mut body)? & 0x7fff_ffff;
                Frame::Reply {
                    stream,
                    headers: self.headers(&body)?,
                }
            }
            3 => Frame::Reset {
                stream: number(&mut body)? & 0x7fff_ffff,
                code: number(&mut body)?,
            },
            6 => Frame::Ping(number(&mut body)?),
            7 => Frame::GoAway,
            8 => {
                // Not used, but the compression's state must follow.
                number(&mut body)?;
                self.headers(&body)?;
                Frame::Other
            }
            _ => Frame::Other,
        }))
    }

    fn headers(&mut self, block: &[u8]) -> Result<Headers, Broken> {
        let block = self.inflater.inflate(block).ok_or(Broken)?;
        let mut block = &block[..];
        let text = |block: &mut &[u8]| -> Result<String, Broken> {
            let length = block.try_get_u32().map_err(|_| Broken)? as usize;
            let (text, rest) = block.split_at_checked(length).ok_or(Broken)?;
            *block = rest;
            String::from_utf8(text.to_vec()).map_err(|_| Broken)
        };
        let count = block.try_get_u32().map_err(|_| Broken)?;
        (0..count)
            .map(|_| Ok((text(&mut block)?.to_lowercase(), text(&mut block)?)))
            .collect()
    }
}

/// Writes frames.
#[derive(Default)]
pub(super) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    pub(super) fn encode(&mut self, frame: &Frame) -> Bytes {
        let mut out = BytesMut::new();
        let control = |out: &mut BytesMut, kind: u16, flags: u8, body: &[u8]| {
            out.put_u16(0x8003);
            out.put_u16(kind);
            out.put_u32(u32::from(flags) << 24 | body.len() as u32);
            out.put_slice(body);
        };
        match frame {
            Frame::Open {
                stream,
                headers,
                fin,
            } => {
                let mut body = [stream.to_be_bytes(), [0; 4]].concat();
                body.extend_from_slice(&[0, 0]);
                body.extend(self.block(headers));
                control(&mut out, 1, u8::from(*fin), &body);
            }
            Frame::Reply { stream, headers } => {
                let mut body = stream.to_be_bytes().to_vec();
                body.extend(self.block(headers));
                control(&mut out, 2, 0, &body);
            }
            Frame::Data { stream, data, fin } => {
                out.put_u32(*stream);
                out.put_u32(u32::from(u8::from(*fin)) << 24 | data.len() as u32);
                out.put_slice(data);
            }
            Frame::Reset { stream, code } => control(
                &mut out,
                3,
                0,
                &[stream.to_be_bytes(), code.to_be_bytes()].concat(),
            ),
            Frame::Ping(id) => control(&mut out, 6, 0, &id.to_be_bytes()),
            Frame::GoAway => control(&mut out, 7, 0, &[0; 8]),
            Frame::Other => {}
        }
        out.freeze()
    }

    fn block(&mut self, headers: &Headers) -> Vec<u8> {
        let mut block = BytesMut::new();
        block.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
        self.deflater.deflate(&block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_written_and_read_in_pieces() {
        let headers = vec![
            ("streamtype".to_owned(), "data".to_owned()),
            ("port".to_owned(), "80".to_owned()),
        ];
        let frames = [
            Frame::Open {
                stream: 1,
                headers: headers.clone(),
                fin: false,
            },
            Frame::Reply {
                stream: 1,
                headers: Vec::new(),
            },
            Frame::Data {
                stream: 1,
                data: Bytes::from_static(b"hello"),
                fin: true,
            },
            Frame::Open {
                stream: 3,
                headers,
                fin: true,
            },
            Frame::Reset { stream: 3, code: 5 },
            Frame::Ping(7),
            Frame::GoAway,
        ];
        let mut encoder = Encoder::default();
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|frame| encoder.encode(frame))
            .collect();
        for size in [1, 3, bytes.len()] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().expect("frames") {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames);
        }
    }

    #[test]
    fn what_is_not_spdy_is_broken() {
        for bytes in [
            &b"\xff\xff\xff\xff\0\0\0\0"[..],
            b"\0\0\0\x01\0\xff\xff\xff",
            b"\x80\x03\0\x01\0\0\0\x01x",
        ] {
            let mut decoder = Decoder::new();
            decoder.push(bytes);
            assert_eq!(decoder.next(), Err(Broken), "{bytes:?}");
        }
    }
}
