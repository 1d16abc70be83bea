//! What a file is, by its first bytes, and what to do when it is no component.

use waft_ir::{Failure, FailureReason};

const MAGIC: &[u8] = b"\0asm";
const CORE_VERSION: [u8; 4] = [1, 0, 0, 0];
const COMPONENT_LAYER: [u8; 2] = [1, 0];

/// Refuses what can't be a component, before anything is compiled. `name` is what the user calls
/// the file.
pub(crate) fn require_component(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(Failure::new(
            FailureReason::PrecompiledRefused,
            format!(
                "{name} holds compiled code, which is never accepted from an image: \
                 use the .wasm component itself"
            ),
        ));
    }
    let Some(version) = bytes.strip_prefix(MAGIC) else {
        return Err(Failure::new(FailureReason::NotWasm, not_wasm(name, bytes)));
    };
    let Some((version, _)) = version.split_first_chunk::<4>() else {
        return Err(truncated(name, "it ends within its header"));
    };
    if *version == CORE_VERSION {
        return Err(Failure::new(
            FailureReason::NotAComponent,
            format!(
                "{name} is a core WebAssembly module, not a component: build it for \
                 wasm32-wasip2, or wrap it with `wasm-tools component new`"
            ),
        ));
    }
    if version[2..] != COMPONENT_LAYER {
        return Err(truncated(name, "its header names no known version"));
    }
    Ok(())
}

/// The failure for a component that wasmtime does not take. Only its words tell what is too much from
/// what is damaged.
pub(crate) fn refused(name: &str, error: &wasmtime::Error) -> Failure {
    let why = format!("{error:#}");
    // Some of its texts are lists over several lines.
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    if !why.contains("exceeds the configured maximum") {
        return truncated(name, &why);
    }
    Failure::new(
        FailureReason::InvalidComponent,
        format!("{name} has more than one component may ({why}): make it several components"),
    )
}

/// The failure for bytes that start as a component and don't validate.
pub(crate) fn truncated(name: &str, why: &str) -> Failure {
    Failure::new(
        FailureReason::InvalidComponent,
        format!(
            "{name} is not a valid component ({why}): the file may be cut short or damaged; \
             build or download it again"
        ),
    )
}

fn not_wasm(name: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return format!("{name} is empty: expected a WebAssembly component");
    }
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"(component") || start.starts_with(b"(module") {
        return format!(
            "{name} is WebAssembly text, not binary: convert it with `wasm-tools parse`"
        );
    }
    format!("{name} is not WebAssembly: expected a component built for wasm32-wasip2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Option<FailureReason> {
        require_component("x.wasm", bytes).err().map(|f| f.reason)
    }

    #[test]
    fn first_bytes_tell() {
        use FailureReason::*;
        let cases: [(&[u8], Option<FailureReason>); 8] = [
            (b"", Some(NotWasm)),
            (b"hello", Some(NotWasm)),
            (b"(component)", Some(NotWasm)),
            (b"\0asm", Some(InvalidComponent)),
            (b"\0asm\x01\0\0\0", Some(NotAComponent)),
            (b"\0asm\x0d\0\x02\0", Some(InvalidComponent)),
            (b"\x7fELF\x02", Some(PrecompiledRefused)),
            (b"\0asm\x0d\0\x01\0", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(reason(bytes), expected, "{bytes:?}");
        }
    }
}
