//! What is sent and looked at, whichever way the request came.
//!
//! | path | answers |
//! |---|---|
//! | `/all?N` | `well`, if N bytes, none, and those from the second on came back from everywhere as they should |
//! | `/count?N`, `/give?N` | how many of N bytes arrive there and here |
//! | `/crash?N` | (the other component traps) |

wit_bindgen::generate!({ path: "../wit/packages.wit", world: "sender" });

use example::packages::packages::{self, Cargo, Crate, Parcel};

/// Long enough to go as other lists do.
const LABEL: &str = "ein Päckchen, von Hand zu Hand, von einem Ort zum anderen und von dort zurück";

pub fn answer(path: &str, query: &str) -> String {
    let length: usize = query.parse().unwrap_or(0);
    match path {
        "/all" => {
            let bytes = bytes(length);
            // Twice: what is kept from one call must not be there at the next.
            for bytes in [&bytes[..], &[], bytes.get(1..).unwrap_or(&[]), &bytes[..]] {
                all(bytes);
            }
            "well".to_owned()
        }
        "/count" => packages::count(&vec![7; length]).to_string(),
        "/give" => packages::give(length as u64).len().to_string(),
        "/crash" => packages::crash(&vec![7; length]).len().to_string(),
        _ => String::new(),
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8).collect()
}

fn all(bytes: &[u8]) {
    let length = bytes.len();
    assert_eq!(packages::count(bytes), length as u64);
    let given = packages::give(length as u64);
    assert_eq!(given, self::bytes(length));
    let turned: Vec<u8> = bytes.iter().rev().copied().collect();
    assert_eq!(packages::turn(bytes), turned);

    let named = [LABEL.as_bytes(), bytes].concat();
    let swapped = packages::swap(bytes, LABEL, None);
    assert_eq!(swapped, (named.clone(), None));
    let swapped = packages::swap(bytes, LABEL, Some(&turned));
    assert_eq!(swapped, (turned.clone(), Some(named)));

    let parcel = Parcel {
        label: LABEL.into(),
        content: bytes.to_vec(),
        weight: u64::MAX,
        notes: turned.clone(),
    };
    match packages::pack(&parcel) {
        Ok(packed) => {
            assert_eq!(packed.label, LABEL);
            assert_eq!(packed.content, turned);
            assert_eq!(packed.weight, u64::MAX);
            assert_eq!(packed.notes, bytes);
        }
        Err(label) => {
            assert_eq!(length, 0);
            assert_eq!(label, LABEL.as_bytes());
        }
    }

    let many = packages::many(&parcel, &parcel, bytes, &[1]);
    let both = [bytes, &turned].concat();
    assert_eq!(many, [&both, &both, bytes, &[1]].concat());

    assert!(matches!(packages::load(&Cargo::Nothing), Cargo::Nothing));
    let loose = packages::load(&Cargo::Loose(bytes.to_vec()));
    assert!(matches!(loose, Cargo::Loose(loose) if loose == bytes));
    let text = packages::load(&Cargo::Text(LABEL.into()));
    assert!(matches!(text, Cargo::Text(text) if text == LABEL));
    let weight = packages::load(&Cargo::Weighed(0.5));
    assert!(matches!(weight, Cargo::Weighed(weight) if weight == 0.5));
    let packed = packages::load(&Cargo::Packed(parcel));
    assert!(matches!(packed, Cargo::Packed(p) if p.content == bytes && p.notes == turned));

    let crates = [Crate::new(bytes), Crate::new(&turned)];
    assert_eq!(crates[1].content(), turned);
    assert_eq!(crates[0].content(), bytes);
    assert_eq!(crates[0].content(), bytes);
}
