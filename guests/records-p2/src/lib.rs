//! Counts a record once more; counts and gives bytes. Another component of the workload imports what it
//! exports.

wit_bindgen::generate!({ path: "../wit/records.wit" });

use exports::bench::records::records::{Guest, Point, Sample};

struct Records;

export!(Records);

impl Guest for Records {
    fn step(mut point: Point) -> Point {
        point.count += 1;
        point
    }

    fn next(mut sample: Sample) -> Sample {
        sample.count += 1;
        sample
    }

    fn take(bytes: Vec<u8>) -> u64 {
        bytes.len() as u64
    }

    fn give(length: u32) -> Vec<u8> {
        vec![7; length as usize]
    }
}
