//! `wasi:logging/logging`: messages become lines of the component's log, level first.

use std::sync::Arc;

use waft_ir::{CapabilityGrant, Failure, InterfaceName, LogSource};
use waft_runtime::{Capability, CapabilityId, Ctx, GuestSpec, PLACES, Slot, views};
use wasmtime::component::{HasData, LinkerInstance};

use crate::slots::LOGGING;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/logging",
        world: "wasi:logging/imports",
    });
}

use bindings::wasi::logging::logging::{self, Level};

/// Bytes of the context that stands before each line.
const CONTEXT: usize = 1 << 10;
/// Bytes of one message: with a context, no more than a log takes of one text.
const MESSAGE: usize = 62 << 10;

/// The `wasi:logging` capability.
#[derive(Clone, Copy, Debug)]
pub struct Logging;

/// The store as a host call sees it: the log is part of every guest's.
struct View<'a>(&'a Ctx);

struct Getter;

impl HasData for Getter {
    type Data<'a> = View<'a>;
}

impl Capability for Logging {
    fn id(&self) -> CapabilityId {
        LOGGING
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        crate::interfaces_of("wasi", "logging")
    }

    fn link(
        &self,
        instance: &mut LinkerInstance<'_, Ctx>,
        _: &InterfaceName,
        place: usize,
    ) -> wasmtime::Result<()> {
        const VIEWS: [fn(&mut Ctx) -> View<'_>; PLACES] = views!(ctx => View(ctx));
        logging::add_to_linker_instance::<Ctx, Getter>(instance, VIEWS[place])
    }

    fn own_interfaces(&self) -> Vec<InterfaceName> {
        self.interfaces()
    }

    fn bind(&self, _: &GuestSpec, _: &[&CapabilityGrant]) -> Result<Slot, Failure> {
        Ok(Arc::new(()))
    }
}

impl logging::Host for View<'_> {
    fn log(&mut self, level: Level, context: String, message: String) {
        let context = &context[..context.floor_char_boundary(CONTEXT)];
        // It would begin a line of its own.
        let context = context.replace('\n', " ");
        let (message, rest) = message.split_at(message.floor_char_boundary(MESSAGE));
        // Each line repeats the context. One is said in any case.
        let mut room = MESSAGE + context.len();
        for line in lines(message) {
            match room.checked_sub(line.len() + context.len()) {
                Some(left) => room = left,
                None => {
                    self.0.drop_log_rest("\n");
                    continue;
                }
            }
            self.0
                .log_line(LogSource::Logging, &text(level, &context, line));
        }
        self.0.drop_log_rest(rest);
    }
}

/// The lines of a message, one at least: a line break at the end begins none.
fn lines(message: &str) -> impl Iterator<Item = &str> {
    let empty = message.is_empty().then_some("");
    message.lines().chain(empty)
}

fn text(level: Level, context: &str, line: &str) -> String {
    let level = match level {
        Level::Trace => "TRACE",
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
        Level::Critical => "CRITICAL",
    };
    if context.is_empty() {
        format!("{level} {line}")
    } else {
        format!("{level} [{context}] {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_line_at_least() {
        for (message, expected) in [
            ("", &[""][..]),
            ("\n", &[""]),
            ("one\n", &["one"]),
            ("one\r\n\ntwo", &["one", "", "two"]),
        ] {
            let found: Vec<_> = lines(message).collect();
            assert_eq!(found, expected, "{message:?}");
        }
    }
}
