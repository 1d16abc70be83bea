//! Keeps values in `wasi:keyvalue`. The first part of a query is the bucket, then the key.
//!
//! | path | does |
//! |---|---|
//! | `/get?BUCKET&KEY`, `/set?BUCKET&KEY&VALUE`, `/delete?BUCKET&KEY` | what they are called |
//! | `/add?BUCKET&KEY` | adds 1 to a counter and answers it |
//! | `/keys?BUCKET` | answers the keys |
//! | `/fill?BUCKET&COUNT` | sets so many values of a MiB each, named 0, 1 … |
//! | `/stay?BUCKET&KEY`, `…&COUNT` | answers, then sets the key to 1, 2 … for as long as it may, or up to so much |
//! | `/many?BUCKET&COUNT&set`, `…&get`, `…&delete` | what they are called, with so many keys in one call |
//! | `/batch?BUCKET` | sets, reads and deletes several keys in one call each |

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/keyvalue.wit", world: "imports" });
wasip2::http::proxy::export!(Keeper);

use wasi::keyvalue::{
    atomics, batch,
    store::{self, Error},
};

struct Keeper;

impl wasip2::exports::http::incoming_handler::Guest for Keeper {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let parts: Vec<&str> = query.split('&').collect();
        if path == "/stay" {
            http_answer::text(out, 200, "stays");
            return stay(&parts);
        }
        let text = act(&path, &parts).unwrap_or_else(|error| format!("{error:?}"));
        http_answer::text(out, 200, &text);
    }
}

fn stay(parts: &[&str]) {
    let [bucket, key, ..] = parts else { return };
    let last = parts.get(2).and_then(|count| count.parse().ok());
    let Ok(bucket) = store::open(bucket) else {
        return;
    };
    for count in 1..=last.unwrap_or(u64::MAX) {
        if bucket.set(key, count.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

fn act(path: &str, parts: &[&str]) -> Result<String, Error> {
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let (bucket, key) = (store::open(part(0))?, part(1));
    Ok(match path {
        "/set" => {
            bucket.set(key, part(2).as_bytes())?;
            "set".into()
        }
        "/get" => match bucket.get(key)? {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => format!("none, exists: {}", bucket.exists(key)?),
        },
        "/delete" => {
            bucket.delete(key)?;
            "deleted".into()
        }
        "/fill" => {
            let large = vec![0; 1 << 20];
            for at in 0..key.parse().unwrap_or(0) {
                bucket.set(&at.to_string(), &large)?;
            }
            "filled".into()
        }
        "/add" => atomics::increment(&bucket, key, 1)?.to_string(),
        "/keys" => bucket.list_keys(None)?.keys.join(" "),
        "/many" => {
            let count = key.parse().unwrap_or(0);
            let keys: Vec<String> = (0..count).map(|at: u32| at.to_string()).collect();
            let pairs = keys.iter().map(|key| (key.clone(), vec![b'1']));
            match part(2) {
                "set" => batch::set_many(&bucket, &pairs.collect::<Vec<_>>())?,
                "get" => drop(batch::get_many(&bucket, &keys)?),
                _ => batch::delete_many(&bucket, &keys)?,
            }
            "done".into()
        }
        "/batch" => {
            let keys = ["x".to_owned(), "y".into(), "z".into()];
            let pairs = [("x".to_owned(), vec![b'1']), ("y".into(), vec![b'2'])];
            batch::set_many(&bucket, &pairs)?;
            let found = batch::get_many(&bucket, &keys)?;
            batch::delete_many(&bucket, &keys)?;
            let left = bucket.list_keys(None)?.keys.len();
            let found: Vec<_> = found.into_iter().flatten().map(|(key, _)| key).collect();
            format!("{} found, {left} left", found.join(" "))
        }
        _ => "nothing".into(),
    })
}
