//! Does with files what its path says, and answers the outcome or the error.
//!
//! | path | does |
//! |---|---|
//! | `/read?PATH` | answers the content |
//! | `/write?PATH&BYTES` | writes a new file of so many bytes |
//! | `/append?PATH&BYTES` | adds so many bytes to a file |
//! | `/size?PATH&BYTES` | sets the size of a file |
//! | `/held?PATH&BYTES` | writes files, deleting each while it stays open, until it can't |
//! | `/many?PATH` | makes empty files until it can't; answers how many |
//! | `/deep?PATH&NAME` | makes folders below one another, going on from each, until it can't, and moves one to the innermost; answers how many, and the errors |
//! | `/list?PATH` | answers the names in a folder |
//! | `/remove?PATH` | deletes a file |
//! | `/rename?FROM&TO`, `/link?FROM&TO`, `/symlink?FROM&TO` | what they are called |

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
};

use wasip2::{
    filesystem::{
        preopens,
        types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags},
    },
    http::types::{IncomingRequest, ResponseOutparam},
};

wasip2::http::proxy::export!(Files);

struct Files;

impl wasip2::exports::http::incoming_handler::Guest for Files {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (action, query) = http_answer::path_and_query(&request);
        let (path, second) = query.split_once('&').unwrap_or((&query, ""));
        let answer = match act(&action, path, second) {
            Ok(text) => text,
            Err(error) => format!("error {:?}: {error}", error.kind()),
        };
        http_answer::text(out, 200, &answer);
    }
}

fn act(action: &str, path: &str, second: &str) -> io::Result<String> {
    let bytes: u64 = second.parse().unwrap_or(0);
    match action {
        "/read" => return fs::read_to_string(path),
        "/write" => fill(&File::create(path)?, bytes)?,
        "/append" => fill(&OpenOptions::new().append(true).open(path)?, bytes)?,
        "/size" => OpenOptions::new().write(true).open(path)?.set_len(bytes)?,
        "/held" => {
            let mut held = Vec::new();
            for _ in 0..100 {
                let file = File::create(path)?;
                let written = fill(&file, bytes);
                fs::remove_file(path)?;
                if written.is_err() {
                    break;
                }
                held.push(file);
            }
            return Ok(held.len().to_string());
        }
        "/many" => {
            let made = (0..1_000_000).take_while(|at| File::create(format!("{path}/{at}")).is_ok());
            return Ok(made.count().to_string());
        }
        "/deep" => return deep(path, second),
        "/list" => {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            return Ok(names.join(" "));
        }
        "/remove" => fs::remove_file(path)?,
        "/rename" => fs::rename(path, second)?,
        "/link" => fs::hard_link(path, second)?,
        "/symlink" => symlink(path, second)?,
        _ => return Ok("nothing".into()),
    }
    Ok("done".into())
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let piece = [b'x'; 4096];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(piece.len() as u64);
        file.write_all(&piece[..size as usize])?;
        left -= size;
    }
    Ok(())
}

/// Below the first mounted folder; the target may be anything.
fn symlink(target: &str, link: &str) -> io::Result<()> {
    let (folder, path) = mount(link)?;
    let below = link[path.len()..].trim_start_matches('/');
    folder.symlink_at(target, below).map_err(other)
}

fn deep(path: &str, name: &str) -> io::Result<String> {
    let (top, _) = mount(path)?;
    top.create_directory_at(name).map_err(other)?;
    let open = |folder: &Descriptor, name: &str| {
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        folder.open_at(PathFlags::empty(), name, OpenFlags::DIRECTORY, flags)
    };
    let mut innermost = open(&top, ".").map_err(other)?;
    let mut count = 0;
    let refused = loop {
        if let Err(code) = innermost.create_directory_at("d") {
            break code;
        }
        innermost = open(&innermost, "d").map_err(other)?;
        count += 1;
    };
    let moved = top.rename_at(name, &innermost, name);
    let moved = moved.map_or_else(|code| code.name(), |()| "done");
    Ok(format!("{count} {} {moved}", refused.name()))
}

/// The mounted folder that a path lies in, and its own path.
fn mount(path: &str) -> io::Result<(Descriptor, String)> {
    let mut folders = preopens::get_directories().into_iter();
    let found = folders.find(|(_, folder)| path.starts_with(folder.as_str()));
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn other(code: ErrorCode) -> io::Error {
    io::Error::other(format!("{code:?}"))
}
