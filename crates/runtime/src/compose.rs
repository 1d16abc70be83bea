//! Members of a workload become one component, ahead of time: what one imports and another exports
//! is linked by the component model itself, so that calls between them are compiled code, and
//! resources, streams and futures cross.
//!
//! Each member keeps its own environment, configuration, folders, output and rules of egress:
//! before members are joined, their imports of interfaces that say who is asking are renamed, one
//! name a member, and the linker gives each name its own functions (`members`). Interfaces whose
//! resources cross between members keep one name.
//!
//! Which import is met by which export is decided by the caller.

use std::ops::Range;

use semver::Version;
use wac_graph::{
    CompositionGraph, EncodeOptions, NodeId, PackageId,
    types::{BorrowedPackageKey, Package},
};
use waft_ir::InterfaceName;
use wasmparser::{Parser, Payload};

use crate::{
    lists,
    members::{is_own, own_label},
};

/// One member of a composition.
#[derive(Clone)]
pub(crate) struct Part {
    /// Its name in the workload.
    pub(crate) name: String,
    /// The component.
    pub(crate) wasm: Vec<u8>,
    /// What other members give it.
    pub(crate) wants: Vec<Want>,
}

/// An import that another member meets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Want {
    /// Its name, as the importing member has it.
    pub import: String,
    /// The place of the member that exports it.
    pub from: usize,
    /// The name that it is exported under.
    pub export: String,
}

/// The last versions of WASI 0.2 and 0.3, which all members' imports of shared interfaces are given,
/// so that types of one interface are the same types.
const WASI_VERSIONS: [Version; 2] = [Version::new(0, 2, 12), Version::new(0, 3, 0)];

/// Joins members; what the first exports is exported. No member may need itself, directly or not.
/// The error says what does not fit.
pub(crate) fn compose(parts: &[Part]) -> Result<Vec<u8>, String> {
    let plain = join(parts)?;
    let carried = lists::carried(parts);
    Ok(carried.and_then(|parts| join(&parts).ok()).unwrap_or(plain))
}

/// Joins members as they are.
fn join(parts: &[Part]) -> Result<Vec<u8>, String> {
    let mut graph = CompositionGraph::new();
    let mut packages = Vec::new();
    for (member, part) in parts.iter().enumerate() {
        let told = |error: &dyn std::fmt::Display| format!("component `{}`: {error}", part.name);
        let wasm = rename_imports(&part.wasm, member, &part.wants).map_err(|error| told(&error))?;
        let name = format!("waft:member-{member}");
        let package = Package::from_bytes(&name, None, wasm, graph.types_mut())
            .map_err(|error| told(&format!("{error:#}")))?;
        let package = graph
            .register_package(package)
            .map_err(|error| told(&error))?;
        packages.push(package);
    }
    let mut made = vec![None; parts.len()];
    let root = instantiate(&mut graph, parts, &packages, &mut made, 0)?;
    let key = BorrowedPackageKey::from_name_and_version("waft:member-0", None);
    let world = graph
        .get_package_by_name(key.name, None)
        .map(|(_, package)| package.ty());
    let exports: Vec<String> = world
        .map(|world| graph.types()[world].exports.keys().cloned().collect())
        .unwrap_or_default();
    for name in exports {
        let export = graph.alias_instance_export(root, &name);
        let exported = export.map_err(|error| error.to_string());
        exported.and_then(|export| graph.export(export, &name).map_err(|e| e.to_string()))?;
    }
    let options = EncodeOptions {
        // wasmtime validates it when it compiles.
        validate: false,
        ..EncodeOptions::default()
    };
    graph.encode(options).map_err(|error| format!("{error:#}"))
}

/// Instantiates a member after those that it needs.
fn instantiate(
    graph: &mut CompositionGraph,
    parts: &[Part],
    packages: &[PackageId],
    made: &mut [Option<NodeId>],
    member: usize,
) -> Result<NodeId, String> {
    if let Some(node) = made[member] {
        return Ok(node);
    }
    let node = graph.instantiate(packages[member]);
    made[member] = Some(node);
    for want in &parts[member].wants {
        let from = instantiate(graph, parts, packages, made, want.from)?;
        let told = |error: &dyn std::fmt::Display| {
            format!(
                "component `{}` imports `{}`, and what `{}` exports as `{}` does not fit: {error}",
                parts[member].name, want.import, parts[want.from].name, want.export
            )
        };
        let export = graph
            .alias_instance_export(from, &want.export)
            .map_err(|error| told(&error))?;
        graph
            .set_instantiation_argument(node, &want.import, export)
            .map_err(|error| told(&format!("{:#}", anyhow_chain(&error))))?;
    }
    Ok(node)
}

/// An error with its causes, on one line.
fn anyhow_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The component with its imports' names changed: those of its own get the member's name, those of
/// WASI the same version for all, and labels, which others may have too, the member's in front.
fn rename_imports(wasm: &[u8], member: usize, wants: &[Want]) -> Result<Vec<u8>, String> {
    let broken = |error: wasmparser::BinaryReaderError| error.to_string();
    let mut renamed = Vec::with_capacity(wasm.len() + 1024);
    let mut copied = 0;
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                let range = in_bytes(section.range());
                let mut body = Vec::new();
                leb128(&mut body, section.count());
                let items = section.into_iter_with_offsets();
                let items = items.collect::<Result<Vec<_>, _>>().map_err(broken)?;
                for (at, (offset, import)) in items.iter().enumerate() {
                    let next = items.get(at + 1).map(|(next, _)| *next);
                    let end = next.unwrap_or(range.end as u64);
                    let old = import.name.name;
                    let whole = &wasm[in_bytes(*offset..end)];
                    // The kind of name, its length, the name, and then what it is.
                    let length_bytes = leb128_length(old.len());
                    let rest = 1 + length_bytes + old.len();
                    let linked = wants.iter().any(|want| want.import == old);
                    let new = match import.name.implements {
                        Some(_) => Some(own_label(old, member)),
                        None if linked => None,
                        None => new_name(old, member),
                    };
                    match new {
                        Some(new) if whole.get(1 + length_bytes..rest) == Some(old.as_bytes()) => {
                            body.push(whole[0]);
                            leb128(&mut body, u32::try_from(new.len()).unwrap_or(u32::MAX));
                            body.extend_from_slice(new.as_bytes());
                            body.extend_from_slice(&whole[rest..]);
                        }
                        _ => body.extend_from_slice(whole),
                    }
                }
                // The section's header stands before its range: its kind and its length.
                let old_length = leb128_length(range.len());
                renamed.extend_from_slice(&wasm[copied..range.start - old_length]);
                leb128(&mut renamed, u32::try_from(body.len()).unwrap_or(u32::MAX));
                renamed.extend_from_slice(&body);
                copied = range.end;
            }
            _ => {}
        }
    }
    renamed.extend_from_slice(&wasm[copied..]);
    Ok(renamed)
}

/// The name that an import gets; `None`: it keeps its own.
fn new_name(old: &str, member: usize) -> Option<String> {
    let mut name = old.parse::<InterfaceName>().ok()?;
    if name.namespace == "wasi"
        && let Some(version) = &mut name.version
        && let Some(last) = WASI_VERSIONS.iter().find(|last| {
            version.pre.is_empty() && version.major == 0 && version.minor == last.minor
        })
    {
        *version = last.clone();
    }
    if is_own(&name) {
        name = crate::members::own_name(&name, member);
    }
    let new = name.to_string();
    (new != old).then_some(new)
}

/// A range of bytes that are in memory.
pub(crate) fn in_bytes(range: Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn leb128(into: &mut Vec<u8>, mut value: u32) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            into.push(byte);
            return;
        }
        into.push(byte | 0x80);
    }
}

fn leb128_length(value: usize) -> usize {
    let mut bytes = Vec::new();
    leb128(&mut bytes, u32::try_from(value).unwrap_or(u32::MAX));
    bytes.len()
}
