//! Files that are no component, or a damaged one: each is refused with a reason that blames the
//! file, or it loads. Nothing panics. `WAFT_FUZZ_SECONDS` says for how long (2 unless set); a
//! failure prints the seed, and `WAFT_FUZZ_SEED` repeats it.

use std::time::{Duration, Instant};

use waft_ir::FailureReason;
use waft_runtime::Engine;

use crate::support::ENGINE;

/// A generator of numbers that needs no crate: splitmix64.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the clock, or by the environment.
    pub(crate) fn new() -> Self {
        let given = std::env::var("WAFT_FUZZ_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            // A suite of tests tries the same bytes each time; who asks for longer wants new ones.
            if std::env::var_os("WAFT_FUZZ_SECONDS").is_none() {
                return 1;
            }
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            now.as_nanos() as u64
        });
        println!("WAFT_FUZZ_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn time() -> Duration {
    let seconds = std::env::var("WAFT_FUZZ_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|s| s.parse().ok()).unwrap_or(2))
}

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
    let end = Instant::now() + time();
    while Instant::now() < end {
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
    let end = Instant::now() + time();
    while Instant::now() < end {
        let mut bytes = originals[random.below(originals.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let length = random.below(64).min(bytes.len() - at);
                    let piece = bytes[at..at + length].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        loads_or_is_refused(&ENGINE, bytes).await;
    }
}
