//! A server that speaks TLS and answers a line in capitals.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One with a certificate that it signed itself. It goes with the test's process.
pub(super) struct TlsServer {
    pub(super) port: u16,
    /// In PEM.
    pub(super) certificate: String,
}

impl TlsServer {
    pub(super) fn start(ip: IpAddr, name: &str) -> Self {
        let (certificate, config) = waft_servers::self_signed(name);
        let config = Arc::new(config);
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that trusts nobody leaves.
                let _ = answer(config.clone(), stream);
            }
        });
        Self { port, certificate }
    }
}

fn answer(config: Arc<ServerConfig>, stream: TcpStream) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let stream = stream.get_mut();
    stream.write_all(line.trim().to_uppercase().as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
