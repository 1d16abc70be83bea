//! Measures calls as a component sees them. Answers nanoseconds for all of them together.
//!
//! | path | measures |
//! |---|---|
//! | `/linked?N`, `/linked-point?N` | N calls of another component, with a small record both ways, of strings or of numbers only |
//! | `/hop?N&HOST`, `/hop-point?N&HOST` | N requests with the same record to `/record` or `/point` of a host |
//! | `/record?COUNT`, `/point?COUNT` | (answers the record that it gets, counted once more) |
//! | `/list?N&LENGTH`, `/odd?N&LENGTH` | N calls with a list of that length, at an even address and at an odd one |
//! | `/given?N&LENGTH` | N calls that give such a list |
//! | `/copy?N&LENGTH` | N copies of it in memory |
//! | `/get?N`, `/floor?N` | N reads of a key in `wasi:keyvalue`; N of the cheapest host call |

use std::{hint::black_box, io::Read as _};

use wasip2::{
    clocks::monotonic_clock::{now, resolution},
    http::{
        outgoing_handler,
        types::{Fields, IncomingRequest, OutgoingBody, OutgoingRequest, ResponseOutparam, Scheme},
    },
};

wit_bindgen::generate!({
    path: ["../wit/records.wit", "../wit/keyvalue.wit", "../wit/measure.wit"],
    world: "bench:measure/measure",
    generate_all,
});
wasip2::http::proxy::export!(Measure);

use bench::records::records::{self, Point, Sample};
use wasi::keyvalue::store;

const POINT: Point = Point {
    x: 0.5,
    y: -0.5,
    count: 0,
};

struct Measure;

impl wasip2::exports::http::incoming_handler::Guest for Measure {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let (count, host) = query.split_once('&').unwrap_or((&query, ""));
        let count: u64 = count.parse().unwrap_or(1);
        let length: usize = host.parse().unwrap_or(0);
        let nanoseconds = match path.as_str() {
            "/record" => {
                let text = written(&Sample {
                    count: count + 1,
                    ..sample()
                });
                return http_answer::text(out, 200, &text);
            }
            "/point" => {
                let text = point_written(&Point {
                    count: count + 1,
                    ..POINT
                });
                return http_answer::text(out, 200, &text);
            }
            "/linked-point" => {
                let mut point = POINT;
                let took = time(|| {
                    for _ in 0..count {
                        point = records::step(point);
                    }
                });
                assert_eq!(point.count, count);
                took
            }
            "/hop-point" => time(|| {
                for at in 0..count {
                    let text = hop(host, "/point", at);
                    assert_eq!(point_read(&text).count, at + 1);
                }
            }),
            "/linked" => {
                let mut sample = sample();
                let took = time(|| {
                    for _ in 0..count {
                        sample = records::next(&sample);
                    }
                });
                assert_eq!(sample.count, count);
                took
            }
            "/hop" => time(|| {
                for at in 0..count {
                    let text = hop(host, "/record", at);
                    assert_eq!(read(&text).count, at + 1);
                }
            }),
            "/list" => taken(&vec![7; length], count),
            "/odd" => taken(&vec![7; length + 1][1..], count),
            "/given" => time(|| {
                for _ in 0..count {
                    assert_eq!(records::give(length as u32).len(), length);
                }
            }),
            "/copy" => {
                let (from, mut to) = (vec![7; length], vec![0; length]);
                time(|| {
                    for _ in 0..count {
                        black_box(&mut to[..]).copy_from_slice(black_box(&from));
                    }
                })
            }
            "/get" => {
                let bucket = store::open("bench").expect("it is granted");
                bucket.set("key", b"a small value").expect("there is room");
                time(|| {
                    for _ in 0..count {
                        let value = bucket.get("key").expect("it is there");
                        assert!(value.is_some());
                    }
                })
            }
            "/floor" => time(|| {
                for _ in 0..count {
                    black_box(resolution());
                }
            }),
            _ => 0,
        };
        http_answer::text(out, 200, &nanoseconds.to_string());
    }
}

fn time(action: impl FnOnce()) -> u64 {
    let began = now();
    action();
    now() - began
}

/// Calls with a list.
fn taken(bytes: &[u8], count: u64) -> u64 {
    time(|| {
        for _ in 0..count {
            assert_eq!(records::take(black_box(bytes)), bytes.len() as u64);
        }
    })
}

fn sample() -> Sample {
    Sample {
        name: "a sample".into(),
        count: 0,
        ratio: 0.5,
        tags: vec!["one".into(), "two".into()],
    }
}

/// The record as a line of text.
fn written(sample: &Sample) -> String {
    let tags = sample.tags.join(",");
    format!("{};{};{};{tags}", sample.name, sample.count, sample.ratio)
}

fn read(text: &str) -> Sample {
    let parts: Vec<&str> = text.split(';').collect();
    Sample {
        name: parts[0].into(),
        count: parts[1].parse().expect("a count"),
        ratio: parts[2].parse().expect("a ratio"),
        tags: parts[3].split(',').map(str::to_owned).collect(),
    }
}

fn point_written(point: &Point) -> String {
    format!("{};{};{}", point.x, point.y, point.count)
}

fn point_read(text: &str) -> Point {
    let mut parts = text.split(';');
    let mut part = || parts.next().expect("three numbers");
    Point {
        x: part().parse().expect("a number"),
        y: part().parse().expect("a number"),
        count: part().parse().expect("a count"),
    }
}

fn hop(host: &str, path: &str, count: u64) -> String {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(host)))
        .and_then(|()| request.set_path_with_query(Some(&format!("{path}?{count}"))));
    set.expect("a valid address");
    let body = request.body().expect("the body is taken once");
    let pending = outgoing_handler::handle(request, None).expect("it is granted");
    OutgoingBody::finish(body, None).expect("nothing is sent");
    pending.subscribe().block();
    let response = pending
        .get()
        .expect("it is ready")
        .expect("it is taken once");
    let response = response.expect("it is answered");
    let body = response.consume().expect("the body is taken once");
    let mut text = String::new();
    let mut stream = body.stream().expect("the stream is taken once");
    stream.read_to_string(&mut text).expect("it ends well");
    text
}
