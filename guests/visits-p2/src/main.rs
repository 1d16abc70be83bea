//! Counts visits. Listens on the network within its workload, takes one line a connection, the name
//! of a page, and answers how often that page was visited. Each visit is a line of a journal in a
//! volume that the components of the workload see too; it is read when the service is started again,
//! so that the counts live as long as the workload does.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

/// Longest name of a page.
const LONGEST: u64 = 1024;

fn main() -> io::Result<()> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:7000".into());
    let path = env::var("JOURNAL").unwrap_or_else(|_| "/journal/visits".into());
    let mut journal = File::options().append(true).create(true).open(&path)?;
    let mut visits = HashMap::new();
    for page in fs::read_to_string(&path)?.lines() {
        *visits.entry(page.to_owned()).or_default() += 1;
    }
    let listener = TcpListener::bind(&address)?;
    println!("counting visits on {address}");
    for stream in listener.incoming() {
        // One visitor that left is no reason to stop counting.
        if let Err(error) = stream.and_then(|stream| count(stream, &mut visits, &mut journal)) {
            eprintln!("a visitor was lost: {error}");
        }
    }
    Ok(())
}

fn count(
    mut stream: TcpStream,
    visits: &mut HashMap<String, u64>,
    journal: &mut File,
) -> io::Result<()> {
    let mut page = String::new();
    BufReader::new((&mut stream).take(LONGEST)).read_line(&mut page)?;
    let page = page.trim_end();
    journal.write_all(format!("{page}\n").as_bytes())?;
    let count = visits.entry(page.to_owned()).or_default();
    *count += 1;
    stream.write_all(format!("{count}\n").as_bytes())
}
