//! What `tries-p2` and `tries-p3` try, and how a request says it; each brings the interfaces of its
//! generation. Parts of a query are parted by `&`; `%XX` is a byte.
//!
//! | path | tries |
//! |---|---|
//! | `/open?FLAGS&PATH` | to open below the first folder: `r` reads the content, `c` creates, `n` makes a new file |
//! | `/hold?N&PATH` | to open a file N times and close none |
//! | `/listings?N` | to begin to read the first folder N times and go on with none, as long as the instance lives |
//! | `/stat?PATH`, `/unlink?PATH`, `/mkdir?PATH` | what they are called |
//! | `/link?A&B`, `/rename?A&B`, `/symlink?A&B` | what they are called |
//! | `/write?PATH&N` | to write N bytes to a new file, or to the end of an old one |
//! | `/append?PATH&N` | to write N bytes to the end of a file that was opened to be read |
//! | `/appends?N&PATH` | to begin to append to a file N times and end none |
//! | `/size?PATH&N` | to give a file N bytes |
//! | `/connect?IP:PORT`, `/connect-many?N&IP:PORT` | TCP |
//! | `/send?IP:PORT` | a datagram |
//! | `/listen?IP:PORT`, `/bind-udp?IP:PORT` | a port |
//! | `/resolve?NAME` | a look-up |
//! | `/header?NAME&VALUE&URL` | a GET with a header |
//! | `/follow?URL` | a GET that goes where it is redirected to |

use std::{fmt::Debug, mem, net::SocketAddr};

/// What came of it, or what an interface answered, in its own words.
pub type Told<T = String> = Result<T, String>;

/// How a file is opened.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Open {
    Read,
    /// To be written, and created if it is not there.
    Create,
    /// To be written, and not there before.
    New,
}

/// The interfaces of one generation.
#[allow(
    async_fn_in_trait,
    reason = "nobody asks more of these futures than to be awaited"
)]
pub trait Wasi {
    /// An open file or folder.
    type File;
    /// A folder that is being read.
    type Listing;
    /// What is being appended to a file.
    type Appending;
    /// A TCP connection; closed when it is dropped.
    type Connection;
    /// An HTTP response whose body was not read yet.
    type Response;

    /// The first folder.
    fn folder() -> Option<Self::File>;
    async fn open(folder: &Self::File, path: &str, how: Open) -> Told<Self::File>;
    /// The beginning of a file's content.
    async fn read(file: &Self::File) -> Told<Vec<u8>>;
    /// Writes at the beginning of a file, or at its end.
    async fn write(file: &Self::File, data: Vec<u8>, at_end: bool) -> Told<()>;
    /// Begins to read a folder: its first entry.
    async fn list(folder: &Self::File) -> Told<Self::Listing>;
    /// Begins to append to a file.
    async fn append(file: &Self::File) -> Told<Self::Appending>;
    async fn set_size(file: &Self::File, size: u64) -> Told<()>;
    async fn stat(folder: &Self::File, path: &str) -> Told<()>;
    async fn unlink(folder: &Self::File, path: &str) -> Told<()>;
    async fn mkdir(folder: &Self::File, path: &str) -> Told<()>;
    async fn link(folder: &Self::File, old: &str, new: &str) -> Told<()>;
    async fn rename(folder: &Self::File, old: &str, new: &str) -> Told<()>;
    async fn symlink(folder: &Self::File, old: &str, new: &str) -> Told<()>;

    async fn connect(to: SocketAddr) -> Told<Self::Connection>;
    /// Sends one datagram.
    async fn send(to: SocketAddr, data: Vec<u8>) -> Told<()>;
    async fn listen(at: SocketAddr) -> Told<()>;
    async fn bind_udp(at: SocketAddr) -> Told<()>;
    /// What is answered first.
    async fn resolve(name: &str) -> Told;

    /// A GET by plain HTTP, with a header of these name and value.
    async fn get(authority: &str, path: &str, header: Option<(&str, &str)>)
    -> Told<Self::Response>;
    /// Where the response redirects to.
    fn location(response: &Self::Response) -> Option<Vec<u8>>;
    fn status(response: &Self::Response) -> u16;
    async fn body(response: Self::Response) -> Told<Vec<u8>>;
}

/// What an interface answers, in its own words.
pub fn told<T>(result: Result<T, impl Debug>) -> Told<T> {
    result.map_err(|error| format!("{error:?}"))
}

/// Tries what a request's path and query say, and gives what was told.
pub async fn answer<W: Wasi>(path: &str, query: &str) -> String {
    let told = act::<W>(path.trim_start_matches('/'), query).await;
    told.unwrap_or_else(|told| told)
}

async fn act<W: Wasi>(what: &str, query: &str) -> Told {
    let mut parts = query.splitn(if what == "header" { 3 } else { 2 }, '&');
    let mut part = || decoded(parts.next().unwrap_or_default());
    let first = part();
    let folder = folder::<W>;
    let done = match what {
        "open" => return open::<W>(&first, &part()).await,
        "hold" => return hold::<W>(number(&first), &part()).await,
        "listings" => return listings::<W>(number(&first)).await,
        "write" => write::<W>(&first, number(&part())).await,
        "append" => {
            let file = W::open(&folder()?, &first, Open::Read).await?;
            W::write(&file, vec![b'x'; number(&part())], true).await
        }
        "appends" => return appends::<W>(number(&first), &part()).await,
        "size" => {
            let file = W::open(&folder()?, &first, Open::Create).await?;
            W::set_size(&file, number(&part()) as u64).await
        }
        "stat" => W::stat(&folder()?, &first).await,
        "unlink" => W::unlink(&folder()?, &first).await,
        "mkdir" => W::mkdir(&folder()?, &first).await,
        "link" => W::link(&folder()?, &first, &part()).await,
        "rename" => W::rename(&folder()?, &first, &part()).await,
        "symlink" => W::symlink(&folder()?, &first, &part()).await,
        "connect" => W::connect(address(&first)).await.map(drop),
        "connect-many" => return connect_many::<W>(number(&first), &part()).await,
        "send" => W::send(address(&first), b"hello".to_vec()).await,
        "listen" => W::listen(address(&first)).await,
        "bind-udp" => W::bind_udp(address(&first)).await,
        "resolve" => return W::resolve(&first).await,
        "header" => {
            let (value, url) = (part(), part());
            return text::<W>(get::<W>(&url, Some((&first, &value))).await?).await;
        }
        "follow" => return follow::<W>(first).await,
        _ => return Ok("ok".into()),
    };
    done.map(|()| "done".into())
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("two digits");
        all.push(char::from(byte));
        all.push_str(&part[2..]);
    }
    all
}

fn folder<W: Wasi>() -> Told<W::File> {
    W::folder().ok_or("no folder".into())
}

async fn open<W: Wasi>(flags: &str, path: &str) -> Told {
    let how = match flags {
        "c" => Open::Create,
        "n" => Open::New,
        _ => Open::Read,
    };
    let file = W::open(&folder::<W>()?, path, how).await?;
    if how != Open::Read {
        return Ok("done".into());
    }
    let content = W::read(&file).await?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

async fn hold<W: Wasi>(count: usize, path: &str) -> Told {
    let folder = folder::<W>()?;
    let mut held = Vec::new();
    for at in 0..count {
        let opened = W::open(&folder, path, Open::Read).await;
        held.push(opened.map_err(|error| format!("{at}, then {error}"))?);
    }
    Ok(held.len().to_string())
}

async fn listings<W: Wasi>(count: usize) -> Told {
    let folder = folder::<W>()?;
    for at in 0..count {
        let begun = W::list(&folder).await;
        mem::forget(begun.map_err(|error| format!("{at}, then {error}"))?);
    }
    Ok(count.to_string())
}

async fn appends<W: Wasi>(count: usize, path: &str) -> Told {
    let file = W::open(&folder::<W>()?, path, Open::Create).await?;
    let mut held = Vec::new();
    for at in 0..count {
        let begun = W::append(&file).await;
        held.push(begun.map_err(|error| format!("{at}, then {error}"))?);
    }
    Ok(held.len().to_string())
}

async fn write<W: Wasi>(path: &str, count: usize) -> Told<()> {
    let folder = folder::<W>()?;
    let is_there = W::stat(&folder, path).await.is_ok();
    let file = W::open(&folder, path, Open::Create).await?;
    W::write(&file, vec![b'x'; count], is_there).await
}

async fn connect_many<W: Wasi>(count: usize, to: &str) -> Told {
    let mut held = Vec::new();
    for at in 0..count {
        let connected = W::connect(address(to)).await;
        held.push(connected.map_err(|error| format!("{at}, then {error}"))?);
    }
    Ok(held.len().to_string())
}

async fn get<W: Wasi>(url: &str, header: Option<(&str, &str)>) -> Told<W::Response> {
    let rest = url.strip_prefix("http://").ok_or("no URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    W::get(authority, path, header).await
}

async fn text<W: Wasi>(response: W::Response) -> Told {
    let status = W::status(&response);
    let body = W::body(response).await?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

async fn follow<W: Wasi>(mut url: String) -> Told {
    loop {
        let response = get::<W>(&url, None).await?;
        match W::location(&response) {
            Some(next) => url = String::from_utf8_lossy(&next).into_owned(),
            None => return text::<W>(response).await,
        }
    }
}
