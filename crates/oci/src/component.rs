//! What a component imports and exports, read off its bytes without compiling them.

use waft_ir::{Failure, FailureReason, InterfaceName};
use wasmparser::{ComponentExternName, Parser, Payload};

/// The interfaces at the outside of a component. Imports and exports that are no interfaces
/// (functions, types) are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Surface {
    pub(crate) imports: Vec<InterfaceName>,
    pub(crate) exports: Vec<InterfaceName>,
}

/// Reads the surface. Bytes that are no component are told what they are instead.
pub(crate) fn inspect(reference: &str, bytes: &[u8]) -> Result<Surface, Failure> {
    if !bytes.starts_with(b"\0asm") {
        return Err(not_wasm(reference, bytes));
    }
    // Fewer than the eight bytes of a header could become either; parsing says what is missing.
    if bytes.len() >= 8 && !Parser::is_component(bytes) {
        return Err(Failure::new(
            FailureReason::NotAComponent,
            format!(
                "`{reference}` is a core module, a component is needed: build it for \
                 `wasm32-wasip2`, or wrap it with `wasm-tools component new`"
            ),
        ));
    }
    read(bytes).map_err(|e| {
        Failure::new(
            FailureReason::InvalidComponent,
            format!(
                "`{reference}` starts as a component but is truncated or damaged ({} bytes): {e}; \
                 build or push it again",
                bytes.len()
            ),
        )
    })
}

fn not_wasm(reference: &str, bytes: &[u8]) -> Failure {
    if bytes.starts_with(b"\x7fELF") {
        return Failure::new(
            FailureReason::PrecompiledRefused,
            format!(
                "`{reference}` holds compiled code, which is never accepted from outside; \
                 give the `.wasm` it was compiled from"
            ),
        );
    }
    let what = match bytes {
        [] => "is empty",
        _ if bytes.trim_ascii_start().starts_with(b"(") => {
            "is WebAssembly text; turn it into a component with `wasm-tools parse`"
        }
        _ => "is not WebAssembly: it does not begin with `\\0asm`",
    };
    Failure::new(FailureReason::NotWasm, format!("`{reference}` {what}"))
}

fn read(bytes: &[u8]) -> wasmparser::Result<Surface> {
    let mut surface = Surface::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            // Nested modules and components announce themselves and then have their own end.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    surface.imports.extend(interface(&import?.name));
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    surface.exports.extend(interface(&export?.name));
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

/// The interface that a name stands for: itself, or the one that it is said to implement.
fn interface(name: &ComponentExternName<'_>) -> Option<InterfaceName> {
    name.implements.unwrap_or(name.name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with nothing in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn hello() -> Vec<u8> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/hello/hello.wasm"
        );
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_real_component_shows_its_surface() {
        let surface = inspect("hello", &hello()).unwrap();
        let has = |list: &[InterfaceName], text: &str| {
            let wanted: InterfaceName = text.parse().unwrap();
            list.iter().any(|have| wanted.accepts(have))
        };
        assert!(has(&surface.exports, "wasi:http/incoming-handler@0.2.0"));
        assert!(has(&surface.imports, "wasi:http/types@0.2.0"));
        assert!(!has(&surface.exports, "wasi:cli/run"));
    }

    #[test]
    fn what_is_no_component_is_named() {
        let reason = |bytes: &[u8]| inspect("x", bytes).unwrap_err().reason;
        assert_eq!(inspect("x", EMPTY), Ok(Surface::default()));
        assert_eq!(reason(b""), FailureReason::NotWasm);
        assert_eq!(reason(b"hello"), FailureReason::NotWasm);
        assert_eq!(reason(b"(component)"), FailureReason::NotWasm);
        assert_eq!(reason(b"\x7fELF"), FailureReason::PrecompiledRefused);
        assert_eq!(reason(b"\0asm\x01\0\0\0"), FailureReason::NotAComponent);
        assert_eq!(reason(b"\0asm"), FailureReason::InvalidComponent);
        let hello = hello();
        for length in [12, 100, hello.len() / 2, hello.len() - 1] {
            assert_eq!(
                reason(&hello[..length]),
                FailureReason::InvalidComponent,
                "{length}"
            );
        }
    }
}
