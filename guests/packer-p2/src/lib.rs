//! Takes bytes from another component of the workload, and gives it some.

wit_bindgen::generate!({ path: "../wit/packages.wit", world: "packer" });

use exports::example::packages::packages::{Cargo, Guest, GuestCrate, Parcel};

struct Packer;

struct Crate(Vec<u8>);

export!(Packer);

impl Guest for Packer {
    type Crate = Crate;

    fn count(bytes: Vec<u8>) -> u64 {
        bytes.len() as u64
    }

    fn give(length: u64) -> Vec<u8> {
        (0..length).map(|at| at as u8).collect()
    }

    fn turn(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.reverse();
        bytes
    }

    fn swap(first: Vec<u8>, name: String, second: Option<Vec<u8>>) -> (Vec<u8>, Option<Vec<u8>>) {
        let named = [name.into_bytes(), first].concat();
        match second {
            Some(second) => (second, Some(named)),
            None => (named, None),
        }
    }

    fn pack(parcel: Parcel) -> Result<Parcel, Vec<u8>> {
        if parcel.content.is_empty() {
            return Err(parcel.label.into_bytes());
        }
        Ok(Parcel {
            content: parcel.notes,
            notes: parcel.content,
            ..parcel
        })
    }

    fn load(cargo: Cargo) -> Cargo {
        cargo
    }

    fn many(one: Parcel, two: Parcel, three: Vec<u8>, four: Vec<u8>) -> Vec<u8> {
        [one.content, one.notes, two.content, two.notes, three, four].concat()
    }

    fn crash(bytes: Vec<u8>) -> Vec<u8> {
        panic!("{} bytes are too many", bytes.len());
    }
}

impl GuestCrate for Crate {
    fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    fn content(&self) -> Vec<u8> {
        self.0.clone()
    }
}
