//! Bodies stream both ways: nothing is collected, whatever the length.

use std::{
    io::{BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{
    PATIENCE, http, manifest,
    waft::{Up, Waft},
};

const MIB: u64 = 1 << 20;

/// What came back of a body that was sent.
struct Echoed {
    received: u64,
    /// Bytes sent when the first byte of the answer arrived.
    sent_at_first_byte: u64,
    /// The highest resident memory of the server meanwhile.
    most_resident: u64,
}

/// Sets a flag when it is dropped.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A platform that serves this echoing guest at `NAME.localhost`.
pub(crate) fn server(name: &str) -> Waft {
    let folder = tempfile::tempdir().unwrap();
    let image = format!("file:{}", waft_guests::path(name).display());
    let file = folder.path().join("echo.yaml");
    // However slow the machine is, a whole body may go through.
    let limits = "limits: {cpuTime: 10m, requestTimeout: 10m}";
    std::fs::write(&file, manifest::deployment_with(name, &image, limits)).unwrap();
    Up::default()
        .arg(&file)
        .arg("--file-root")
        .arg(waft_guests::path(name).parent().unwrap())
        .start()
}

/// The byte at a place of the body: a pattern whose period divides no buffer.
fn pattern(piece: &mut [u8], from: u64) {
    for (place, byte) in (from..).zip(piece) {
        *byte = (place % 251) as u8;
    }
}

/// Sends a chunked body of this length while it reads the answer.
fn echo(waft: &Waft, host: &str, length: u64) -> Echoed {
    let mut stream = TcpStream::connect(waft.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let reader = stream.try_clone().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let sending = {
        let (sent, host) = (sent.clone(), host.to_owned());
        thread::spawn(move || {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nte: trailers\r\n\
                 transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut piece = vec![0; 251 * 1024];
            let mut at = 0;
            while at < length {
                let size = (length - at).min(piece.len() as u64) as usize;
                pattern(&mut piece[..size], at);
                write!(stream, "{size:x}\r\n").unwrap();
                stream.write_all(&piece[..size]).unwrap();
                stream.write_all(b"\r\n").unwrap();
                at += size as u64;
                sent.store(at, Ordering::Relaxed);
            }
            stream.write_all(b"0\r\nx-sum: last\r\n\r\n").unwrap();
        })
    };

    let done = AtomicBool::new(false);
    let most_resident = AtomicU64::new(0);
    thread::scope(|scope| {
        // However it ends: the scope waits for the thread that measures.
        let _done = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most_resident.fetch_max(waft.resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let (status, _) = http::read_head(&mut reader).unwrap();
        assert_eq!(status, 200);
        let (mut received, mut first) = (0, None);
        let mut expected = Vec::new();
        let trailers = http::read_chunks(&mut reader, |piece| {
            first.get_or_insert_with(|| sent.load(Ordering::Relaxed));
            expected.resize(piece.len(), 0);
            pattern(&mut expected, received);
            assert!(piece == expected, "the answer differs after {received}");
            received += piece.len() as u64;
        });
        assert_eq!(trailers.unwrap(), [("x-sum".to_owned(), "last".to_owned())]);
        sending.join().unwrap();
        Echoed {
            received,
            sent_at_first_byte: first.unwrap_or(length),
            most_resident: most_resident.load(Ordering::Relaxed),
        }
    })
}

fn streams(name: &str, length: u64) {
    let waft = server(name);
    let host = format!("{name}.localhost");
    // The first body makes the server allocate what it keeps: threads, buffers, instances.
    crate::support::eventually("the echo serves", || {
        match http::request(waft.http, "POST", &host, "/", &[], b"x") {
            Ok(answer) if answer.status == 200 && answer.body == b"x" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    echo(&waft, &host, 16 * MIB);
    let before = waft.resident();

    let echoed = echo(&waft, &host, length);
    assert_eq!(echoed.received, length);
    assert!(
        echoed.sent_at_first_byte < length / 4,
        "the first byte came after {} were sent",
        echoed.sent_at_first_byte
    );
    let growth = echoed.most_resident.saturating_sub(before);
    assert!(growth < 32 * MIB, "memory grew by {growth} bytes");
    println!(
        "{name}: {length} bytes echoed; the first came back when {} were sent; memory grew by {growth}",
        echoed.sent_at_first_byte
    );
}

#[test]
fn one_gibibyte_by_wasi_0_2() {
    streams("echo-p2", 1024 * MIB);
}

#[test]
fn one_gibibyte_by_wasi_0_3() {
    streams("echo-p3", 1024 * MIB);
}
