//! HTTP/1.1 over a plain socket: one request, one connection, any `Host`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::PATIENCE;

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Sends a GET and reads the whole answer.
pub(crate) fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Response> {
    request(address, "GET", host, path, &[], b"")
}

/// Sends a request with a whole body and reads the whole answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader)?;
    let mut body = Vec::new();
    if method != "HEAD" {
        let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        if find("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            read_chunks(&mut reader, |piece| body.extend_from_slice(piece))?;
        } else if let Some(length) = find("content-length") {
            let length = length.parse().map_err(|_| bad("content-length"))?;
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        } else {
            reader.read_to_end(&mut body)?;
        }
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// Reads status line and headers; names come in lower case.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let line = read_line(reader)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad(&line))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads a chunked body, piece by piece, and returns its trailers.
pub(crate) fn read_chunks(
    reader: &mut impl BufRead,
    mut piece: impl FnMut(&[u8]),
) -> io::Result<Vec<(String, String)>> {
    let mut buffer = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad(&line))?;
        if size == 0 {
            break;
        }
        buffer.resize(size, 0);
        reader.read_exact(&mut buffer)?;
        piece(&buffer);
        read_line(reader)?;
    }
    let mut trailers = Vec::new();
    loop {
        let line = read_line(reader)?;
        match line.split_once(':') {
            Some((name, value)) => trailers.push((name.to_ascii_lowercase(), value.trim().into())),
            None => return Ok(trailers),
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The reason that Waft itself gives for an answer.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.header("x-waft-reason")
    }
}
