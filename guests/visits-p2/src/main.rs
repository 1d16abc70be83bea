//! Counts visits. Listens on the network within its workload, takes one line a connection, the name
//! of a page, and answers how often that page was visited. It lives as long as the workload, so the
//! counts do.

use std::{
    collections::HashMap,
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

/// Longest name of a page.
const LONGEST: u64 = 1024;

fn main() -> io::Result<()> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:7000".into());
    let listener = TcpListener::bind(&address)?;
    println!("counting visits on {address}");
    let mut visits = HashMap::new();
    for stream in listener.incoming() {
        // One visitor that left is no reason to stop counting.
        if let Err(error) = stream.and_then(|stream| count(stream, &mut visits)) {
            eprintln!("a visitor was lost: {error}");
        }
    }
    Ok(())
}

fn count(mut stream: TcpStream, visits: &mut HashMap<String, u64>) -> io::Result<()> {
    let mut page = String::new();
    BufReader::new((&mut stream).take(LONGEST)).read_line(&mut page)?;
    let count = visits.entry(page.trim_end().to_owned()).or_default();
    *count += 1;
    stream.write_all(format!("{count}\n").as_bytes())
}
