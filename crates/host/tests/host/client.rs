//! A client that sends exactly the bytes it is told to, and reads answers strictly.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::harness::PATIENCE;

pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request and reads the answer.
    pub(crate) fn request(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        let no_body = bytes.as_ref().starts_with(b"HEAD ");
        self.send(bytes);
        self.answer(no_body)
    }

    pub(crate) fn read(&mut self) -> Answer {
        self.answer(false)
    }

    /// Sends no more, but goes on reading.
    pub(crate) fn half_close(&mut self) {
        self.reader.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "cut off: {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return fields;
            }
            let (name, value) = line.split_once(':').unwrap();
            fields.push((name.to_ascii_lowercase(), value.trim().into()));
        }
    }

    /// Reads status line and headers.
    pub(crate) fn head(&mut self) -> Answer {
        let line = self.line();
        let (version, rest) = line.split_once(' ').unwrap();
        assert!(version.starts_with("HTTP/1."), "{line}");
        Answer {
            status: rest[..3].parse().unwrap(),
            headers: self.fields(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// Reads the size of a chunk; 0 is the end of the body.
    pub(crate) fn chunk_size(&mut self) -> usize {
        usize::from_str_radix(&self.line(), 16).unwrap()
    }

    fn answer(&mut self, no_body: bool) -> Answer {
        let mut answer = self.head();
        if no_body || answer.status == 204 || answer.status == 304 {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.chunk_size();
                if size == 0 {
                    answer.trailers = self.fields();
                    return answer;
                }
                self.exactly(size, &mut answer.body);
                assert_eq!(self.line(), "");
            }
        }
        match answer.header("content-length") {
            Some(length) => {
                let length = length.parse().unwrap();
                self.exactly(length, &mut answer.body);
            }
            None => {
                self.reader.read_to_end(&mut answer.body).unwrap();
            }
        }
        answer
    }

    fn exactly(&mut self, length: usize, body: &mut Vec<u8>) {
        let read = (&mut self.reader).take(length as u64).read_to_end(body);
        assert_eq!(read.unwrap(), length, "cut off");
    }

    /// Whether the server has closed, with nothing more to read.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.reader.fill_buf().is_ok_and(<[u8]>::is_empty)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks an answer that the host gave itself: status, reason, and one line of text.
    #[track_caller]
    pub(crate) fn is_refusal(&self, status: u16, reason: &str) {
        let given = (self.status, self.header("x-waft-reason"));
        assert_eq!(given, (status, Some(reason)), "{self:?}");
        let text = self.text();
        assert!(text.len() > 5 && text.ends_with('\n'), "{text:?}");
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert_eq!(
            self.header("retry-after").is_some(),
            status == 503,
            "{self:?}"
        );
    }
}
