//! Percent-encoding, and the query's parameters.

use crate::status::Status;

/// A parsed query string. The first of repeated parameters counts.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses what follows the question mark; pairs that aren't UTF-8 are left out.
    pub fn parse(text: &str) -> Query {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key, true)?, decode(value, true)?))
        };
        Query {
            pairs: text
                .split('&')
                .filter(|part| !part.is_empty())
                .filter_map(pair)
                .collect(),
        }
    }

    /// The first value of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean, as the API reads them: present and not a form of no.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// A number, or a refusal.
    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Status> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Status::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })
        };
        self.get(key)
            .filter(|text| !text.is_empty())
            .map(parse)
            .transpose()
    }

    pub(super) fn ports(&self) -> Result<Vec<u16>, Status> {
        let parse = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| Status::bad_request(format!("invalid port {text:?}")))
        };
        self.all("ports")
            .chain(self.all("port"))
            .flat_map(|list| list.split(','))
            .map(parse)
            .collect()
    }
}

/// The decoded segments of a path.
pub(super) fn decode_path(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .map(|segment| decode(segment, false))
        .collect()
}

fn decode(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}
