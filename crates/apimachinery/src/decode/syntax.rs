//! Where JSON breaks off, in the words of Go's scanner.

/// What is open around the place that is read.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Entry,
    Item,
}

/// Deeper than this the real server doesn't read either.
const DEPTH: usize = 10_000;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Step<T> = Result<T, String>;

const END: &str = "unexpected end of JSON input";

/// What is wrong with a text as JSON; nothing if it is JSON.
pub fn syntax_error(bytes: &[u8]) -> Option<String> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.document().err()
}

fn invalid(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        _ => {
            let quoted = crate::status::quote(&char::from(byte).to_string());
            quoted[1..quoted.len() - 1].to_owned()
        }
    };
    format!("invalid character '{shown}' {context}")
}

impl Scanner<'_> {
    fn peek(&self) -> Step<u8> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or_else(|| END.to_owned())
    }

    fn next(&mut self) -> Step<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn document(&mut self) -> Step<()> {
        let mut open: Vec<Open> = Vec::new();
        'value: loop {
            self.skip_space();
            if open.len() > DEPTH {
                return Err("exceeded max depth".into());
            }
            match self.next()? {
                b'{' => {
                    self.skip_space();
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        self.key("looking for beginning of object key string")?;
                        open.push(Open::Entry);
                        continue 'value;
                    }
                }
                b'[' => {
                    self.skip_space();
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        open.push(Open::Item);
                        continue 'value;
                    }
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                first @ (b'-' | b'0'..=b'9') => self.number(first)?,
                other => return Err(invalid(other, "looking for beginning of value")),
            }
            // A value has ended: what may follow is up to what is open.
            loop {
                self.skip_space();
                let Some(inner) = open.last() else {
                    return match self.bytes.get(self.at) {
                        None => Ok(()),
                        Some(byte) => Err(invalid(*byte, "after top-level value")),
                    };
                };
                match (inner, self.next()?) {
                    (Open::Entry, b',') => {
                        self.skip_space();
                        self.key("looking for beginning of object key string")?;
                        continue 'value;
                    }
                    (Open::Item, b',') => continue 'value,
                    (Open::Entry, b'}') | (Open::Item, b']') => {
                        open.pop();
                    }
                    (Open::Entry, byte) => {
                        return Err(invalid(byte, "after object key:value pair"));
                    }
                    (_, byte) => return Err(invalid(byte, "after array element")),
                }
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self, context: &str) -> Step<()> {
        match self.next()? {
            b'"' => self.string()?,
            other => return Err(invalid(other, context)),
        }
        self.skip_space();
        match self.next()? {
            b':' => Ok(()),
            other => Err(invalid(other, "after object key")),
        }
    }

    fn string(&mut self) -> Step<()> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.next()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(invalid(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                control @ 0..0x20 => return Err(invalid(control, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Step<()> {
        for expected in word.bytes().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(invalid(byte, &context));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Step<()> {
        let leading = match first {
            b'-' => match self.next()? {
                digit @ b'0'..=b'9' => digit,
                other => return Err(invalid(other, "in numeric literal")),
            },
            digit => digit,
        };
        if leading != b'0' {
            self.digits();
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digit(&mut self, context: &str) -> Step<()> {
        match self.next()? {
            b'0'..=b'9' => {
                self.digits();
                Ok(())
            }
            other => Err(invalid(other, context)),
        }
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }
}
