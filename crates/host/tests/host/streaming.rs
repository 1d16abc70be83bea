//! Bodies that flow both ways at once.

use std::{io::Read, io::Write, thread};

use crate::harness::Rig;

/// Echoes `length` bytes and checks them, on one connection, with the sender ahead of the reader
/// only by what the way between holds.
fn echoes(guest: &str, length: usize, chunked: bool) {
    let rig = Rig::serving(guest);
    let mut client = rig.connect();
    let framing = if chunked {
        "transfer-encoding: chunked".into()
    } else {
        format!("content-length: {length}")
    };
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n"
    ));
    // The answer begins before the body does.
    assert_eq!(client.head().status, 200);
    let mut writer = client.reader.get_ref().try_clone().unwrap();
    let sending = thread::spawn(move || {
        let mut sent = 0;
        while sent < length {
            let piece: Vec<u8> = (sent..(sent + 60_000).min(length)).map(byte_at).collect();
            if chunked {
                write!(writer, "{:x}\r\n", piece.len()).unwrap();
            }
            writer.write_all(&piece).unwrap();
            if chunked {
                writer.write_all(b"\r\n").unwrap();
            }
            sent += piece.len();
        }
        if chunked {
            writer.write_all(b"0\r\nx-sum: 42\r\n\r\n").unwrap();
        }
    });
    let mut received = 0;
    loop {
        let size = client.chunk_size();
        if size == 0 {
            break;
        }
        let mut piece = vec![0; size];
        client.reader.read_exact(&mut piece).unwrap();
        for (at, byte) in piece.iter().enumerate() {
            assert_eq!(*byte, byte_at(received + at));
        }
        received += size;
        assert_eq!(client.line(), "");
    }
    sending.join().unwrap();
    assert_eq!(received, length);
}

fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn long_bodies_stream_through_a_guest_of_0_2() {
    echoes("echo-p2", 32 << 20, false);
    echoes("echo-p2", 4 << 20, true);
}

#[test]
fn long_bodies_stream_through_a_guest_of_0_3() {
    echoes("echo-p3", 32 << 20, true);
}

#[test]
fn trailers_go_both_ways() {
    let rig = Rig::serving("echo-p2");
    let head = "POST / HTTP/1.1\r\nhost: test\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n";
    let body = "2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n";
    let mut client = rig.connect();
    let answer = client.request(format!("{head}te: trailers\r\n\r\n{body}"));
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.trailers, [("x-sum".into(), "42".into())]);
    // Only for those who take them.
    let answer = client.request(format!("{head}\r\n{body}"));
    assert_eq!((answer.text(), answer.trailers.len()), ("hi", 0));
}
