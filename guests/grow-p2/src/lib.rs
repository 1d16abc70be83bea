//! `/ok` answers; `/?MIB` takes that much memory, says a line and answers; `/refused` takes memory until it is
//! refused, and answers how many MiB it got; any other request takes memory until it traps.
//!
//! `/fill?MIB` takes memory and fills it, and what it had before, with a secret; `/scan?MIB` takes
//! memory without writing to it, and answers how many words of the secret it finds there; `/full?MIB`
//! fills that much, then takes memory until it traps.

use core::{
    arch::wasm32::{memory_grow, unreachable},
    hint::black_box,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Grow);

struct Grow;

const PAGES_PER_MIB: usize = 16;
const WORDS_PER_MIB: usize = (1 << 20) / 8;

/// Memory that every instance has from its start, all zero.
static OWN: [AtomicU64; 1 << 15] = [const { AtomicU64::new(0) }; 1 << 15];

impl wasip2::exports::http::incoming_handler::Guest for Grow {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        match path.as_str() {
            "/ok" => return http_answer::text(out, 200, "ok\n"),
            "/refused" => {
                let got = grow(usize::MAX);
                return http_answer::text(out, 200, &format!("{got}\n"));
            }
            "/fill" => {
                let wanted = query.parse().unwrap_or(1);
                OWN.iter()
                    .for_each(|word| word.store(secret(), Ordering::Relaxed));
                grown(wanted).fill(secret());
                return http_answer::text(out, 200, "filled\n");
            }
            "/full" => {
                grown(query.parse().unwrap_or(1)).fill(1);
                grow(usize::MAX);
                unreachable();
            }
            "/scan" => {
                let wanted = query.parse().unwrap_or(1);
                let own = OWN.iter().filter(|word| word.load(Ordering::Relaxed) != 0);
                let taken = grown(wanted).iter().filter(|word| **word != 0);
                let found = own.count() + taken.count();
                return http_answer::text(out, 200, &format!("{found}\n"));
            }
            _ => {}
        }
        let wanted = query.parse().unwrap_or(usize::MAX);
        if grow(wanted) < wanted {
            unreachable();
        }
        println!("taken");
        http_answer::text(out, 200, "taken\n");
    }
}

/// Made when it is needed, so that it stands nowhere else.
fn secret() -> u64 {
    black_box(0x5ec2_e75e) << 32 | black_box(0xc2e7_5ec2)
}

/// So many MiB of new memory, as words.
fn grown(mib: usize) -> &'static mut [u64] {
    let page = memory_grow::<0>(mib * PAGES_PER_MIB);
    if page == usize::MAX {
        unreachable();
    }
    // SAFETY: these pages are new, so that nobody else has them; zeros, or whatever the host left
    // there, are words; a page is aligned to 64 KiB.
    unsafe { slice::from_raw_parts_mut((page << 16) as *mut u64, mib * WORDS_PER_MIB) }
}

/// Takes up to `mib` MiB, and says how many it got.
fn grow(mib: usize) -> usize {
    (0..mib)
        .take_while(|_| memory_grow::<0>(PAGES_PER_MIB) != usize::MAX)
        .count()
}
