//! The compression of SPDY's headers: one zlib stream a direction, primed with a fixed dictionary.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The dictionary of SPDY/3, as the protocol's description gives it.
const DICTIONARY: &[u8; 1423] = include_bytes!("dictionary.bin");

/// Deflate's window; a power of two, so that it can be a ring.
const WINDOW: usize = 32 << 10;

/// The largest header block that is read.
const LIMIT: usize = 64 << 10;

/// Reads compressed header blocks.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    window: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Inflater {
    pub(super) fn new() -> Inflater {
        let mut window = vec![0; WINDOW];
        window[..DICTIONARY.len()].copy_from_slice(DICTIONARY);
        Inflater {
            state: Box::default(),
            window,
            at: DICTIONARY.len(),
            begun: false,
        }
    }

    /// The next block, or nothing if it is broken.
    pub(super) fn inflate(&mut self, mut block: &[u8]) -> Option<Vec<u8>> {
        if !std::mem::replace(&mut self.begun, true) {
            // The stream's own header: method, flags, and the dictionary's checksum if it is used.
            let (head, rest) = block.split_at_checked(2)?;
            block = rest.get(if head[1] & 0x20 == 0 { 0 } else { 4 }..)?;
        }
        let mut out = Vec::new();
        loop {
            let (status, read, written) = decompress(
                &mut self.state,
                block,
                &mut self.window,
                self.at,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            out.extend_from_slice(&self.window[self.at..self.at + written]);
            self.at = (self.at + written) % WINDOW;
            block = &block[read..];
            match status {
                _ if out.len() > LIMIT => return None,
                TINFLStatus::NeedsMoreInput => return Some(out),
                TINFLStatus::HasMoreOutput => {}
                _ => return None,
            }
        }
    }
}

/// Writes header blocks in zlib's form without compressing them: ours are few and small.
#[derive(Default)]
pub(super) struct Deflater {
    begun: bool,
}

impl Deflater {
    pub(super) fn deflate(&mut self, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.len() + 16);
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&[0x78, 0x01]);
        }
        // Stored blocks; an empty one at the end is what a flush looks like.
        for piece in block.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(piece);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let (mut writer, mut reader) = (Deflater::default(), Inflater::new());
        for length in [0, 1, 100, 40_000, 5] {
            let block: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            assert_eq!(
                reader.inflate(&writer.deflate(&block)).as_deref(),
                Some(&block[..])
            );
        }
    }

    #[test]
    fn the_dictionary_is_referred_to() {
        // Made by zlib with this dictionary and a flush after each text.
        let first = [
            0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x42, 0x2d, 0x8a, 0x10, 0xc9, 0xde, 0x4a, 0xa1,
            0xb8, 0xa4, 0x28, 0x35, 0x31, 0x17, 0x54, 0xb8, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let second = [
            0x42, 0xb0, 0x14, 0x12, 0xd3, 0x81, 0xee, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let mut reader = Inflater::new();
        assert_eq!(
            reader.inflate(&first).as_deref(),
            Some(&b"content-lengthuser-agent: streamtype"[..])
        );
        assert_eq!(
            reader.inflate(&second).as_deref(),
            Some(&b"streamtype again"[..])
        );
    }

    #[test]
    fn garbage_is_nothing() {
        assert_eq!(Inflater::new().inflate(&[0x78]), None);
        assert_eq!(
            Inflater::new().inflate(&[0x78, 0x01, 0xff, 0xff, 0xff]),
            None
        );
    }
}
