//! Hands on bytes between two other components of the workload.

wit_bindgen::generate!({ path: "../wit/packages.wit", world: "carrier" });

use example::packages::packages as inner;
use exports::example::packages::packages::{Cargo, Guest, GuestCrate, Parcel};

struct Carrier;

struct Crate(inner::Crate);

export!(Carrier);

impl Guest for Carrier {
    type Crate = Crate;

    fn count(bytes: Vec<u8>) -> u64 {
        inner::count(&bytes)
    }

    fn give(length: u64) -> Vec<u8> {
        inner::give(length)
    }

    fn turn(bytes: Vec<u8>) -> Vec<u8> {
        inner::turn(&bytes)
    }

    fn swap(first: Vec<u8>, name: String, second: Option<Vec<u8>>) -> (Vec<u8>, Option<Vec<u8>>) {
        inner::swap(&first, &name, second.as_deref())
    }

    fn pack(parcel: Parcel) -> Result<Parcel, Vec<u8>> {
        inner::pack(&into(parcel)).map(from)
    }

    fn load(cargo: Cargo) -> Cargo {
        let cargo = match cargo {
            Cargo::Nothing => inner::Cargo::Nothing,
            Cargo::Text(text) => inner::Cargo::Text(text),
            Cargo::Loose(bytes) => inner::Cargo::Loose(bytes),
            Cargo::Weighed(weight) => inner::Cargo::Weighed(weight),
            Cargo::Packed(parcel) => inner::Cargo::Packed(into(parcel)),
        };
        match inner::load(&cargo) {
            inner::Cargo::Nothing => Cargo::Nothing,
            inner::Cargo::Text(text) => Cargo::Text(text),
            inner::Cargo::Loose(bytes) => Cargo::Loose(bytes),
            inner::Cargo::Weighed(weight) => Cargo::Weighed(weight),
            inner::Cargo::Packed(parcel) => Cargo::Packed(from(parcel)),
        }
    }

    fn many(one: Parcel, two: Parcel, three: Vec<u8>, four: Vec<u8>) -> Vec<u8> {
        inner::many(&into(one), &into(two), &three, &four)
    }

    fn crash(bytes: Vec<u8>) -> Vec<u8> {
        inner::crash(&bytes)
    }
}

impl GuestCrate for Crate {
    fn new(content: Vec<u8>) -> Self {
        Self(inner::Crate::new(&content))
    }

    fn content(&self) -> Vec<u8> {
        self.0.content()
    }
}

fn into(parcel: Parcel) -> inner::Parcel {
    inner::Parcel {
        label: parcel.label,
        content: parcel.content,
        weight: parcel.weight,
        notes: parcel.notes,
    }
}

fn from(parcel: inner::Parcel) -> Parcel {
    Parcel {
        label: parcel.label,
        content: parcel.content,
        weight: parcel.weight,
        notes: parcel.notes,
    }
}
