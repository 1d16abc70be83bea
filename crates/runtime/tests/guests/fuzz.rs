//! Files that are no component, or a damaged one: each is refused with a reason that blames the
//! file, or it loads. Nothing panics. `waft_fuzz` says how long.

use waft_fuzz::{Random, rounds};
use waft_ir::FailureReason;
use waft_runtime::Engine;

use crate::support::ENGINE;

async fn loads_or_is_refused(engine: &Engine, bytes: Vec<u8>) {
    if let Err(failure) = engine.load(bytes.into(), "fuzz.wasm").await {
        let blamed = [
            FailureReason::NotWasm,
            FailureReason::NotAComponent,
            FailureReason::InvalidComponent,
            FailureReason::PrecompiledRefused,
        ];
        assert!(blamed.contains(&failure.reason), "{failure:?}");
    }
}

#[tokio::test]
async fn random_bytes_are_refused() {
    let mut random = Random::new();
    let starts: [&[u8]; 4] = [b"", b"\0asm", b"\0asm\x0d\0\x01\0", b"\x7fELF"];
    for _ in rounds(1000) {
        let mut bytes = starts[random.below(starts.len())].to_vec();
        let length = random.below(4096);
        bytes.extend(random.bytes(length));
        loads_or_is_refused(&ENGINE, bytes).await;
    }
}

#[tokio::test]
async fn damaged_components_are_refused_or_load() {
    let mut random = Random::new();
    let originals = ["hello-p2", "hello-p3"].map(waft_guests::bytes);
    for _ in rounds(3) {
        let mut bytes = originals[random.below(originals.len())].clone();
        random.damage(&mut bytes);
        loads_or_is_refused(&ENGINE, bytes).await;
    }
}
