//! Bytes that go from one member of a composition to another, at the speed of memory.
//!
//! wasmtime takes a `list<u8>` over element by element. A string whose encoding has one byte for each
//! character it copies as a whole, whatever its bytes are. So before members are joined, each
//! function that one imports from another and that has a `list<u8>` as a parameter, as its result
//! or in one of these (fields, options, results and variants; not elements of lists) gets functions
//! beside it that take and give such strings:
//!
//! - `put` takes the list of a parameter, `lead` one at an odd address, where no such string can begin.
//!   The call that follows has an empty one in its place.
//! - `arm` says that lists of the next result are asked for. They are empty in that result; `kept` says
//!   which were not, and `take` gives them. What frees the result is called after the last of them.
//!
//! Between a component's own functions and those stands a small core module on either side (`core`).
//! Whoever calls a function without them gets and gives what he always did, and so go short lists and
//! those that no string can hold. Addresses are checked by wasmtime, as those of any string; nothing
//! but the bytes crosses, and no memory but the components' own holds them. None of these functions
//! can wait, nor can those that they belong to, so nothing of the same instance comes between them.
//!
//! A component that is not made as expected stays as it was.

mod core;
mod exporter;
mod importer;
mod places;
mod rewrite;
mod shape;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use exporter::{Exporter, Offer};

use crate::compose::{Part, Want};

/// The members with what carries lists between them. `None`: there is nothing to carry, or none can
/// be.
pub(crate) fn carried(parts: &[Part]) -> Option<Vec<Part>> {
    let wants = parts.iter().flat_map(|part| &part.wants);
    let exports: BTreeSet<_> = wants
        .map(|want| (want.from, want.export.as_str()))
        .collect();
    let mut offers = BTreeMap::new();
    for (number, (from, export)) in exports.into_iter().enumerate() {
        let wasm = &parts.get(from)?.wasm;
        if let Some(offer) = offer(wasm, export) {
            let name = format!("waft-lists-m{from}-e{number}");
            offers.insert((from, export), (name, offer));
        }
    }
    if offers.is_empty() {
        return None;
    }
    let mut new = parts.to_vec();
    let mut used = BTreeSet::new();
    for (part, new) in parts.iter().zip(&mut new) {
        for (number, want) in part.wants.iter().enumerate() {
            let from = (want.from, want.export.as_str());
            let Some((export, offer)) = offers.get(&from) else {
                continue;
            };
            let import = format!("{export}-w{number}");
            let types = shape::types(&new.wasm)?;
            let rewritten = importer::rewrite(&new.wasm, &types, &want.import, offer, &import);
            if let Some(wasm) = rewritten {
                new.wasm = wasm;
                new.wants.push(Want {
                    import,
                    from: want.from,
                    export: export.clone(),
                });
                used.insert(from);
            }
        }
    }
    for (from, export) in used.iter().copied() {
        let (name, offer) = offers.get(&(from, export))?;
        let part = new.get_mut(from)?;
        let types = shape::types(&part.wasm)?;
        let exporter = Exporter::read(&part.wasm, &types, export)?;
        part.wasm = (exporter.offer() == *offer).then(|| exporter.rewrite(name))??;
    }
    let is_valid = |part: &Part| shape::types(&part.wasm).is_some();
    (!used.is_empty() && new.iter().all(is_valid)).then_some(new)
}

/// What a member offers for its functions with lists; `None`: it has none that are known here.
fn offer(wasm: &[u8], export: &str) -> Option<Offer> {
    let types = shape::types(wasm)?;
    let exporter = Exporter::read(wasm, &types, export)?;
    Some(exporter.offer()).filter(|offer| !offer.is_empty())
}

#[cfg(test)]
mod tests;
