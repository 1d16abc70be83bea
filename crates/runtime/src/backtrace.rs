//! The text of an error of wasmtime, with the functions that ran, within bounds.
//!
//! Names of functions are the guest's. wasmtime's own text of a backtrace demangles them to their end,
//! and a short name of C++ can stand for gigabytes: nothing may ask for that text.

use std::fmt::{self, Display, Write};

use wasmtime::WasmBacktrace;

/// Bytes of a name that are shown.
const NAME: usize = 1 << 10;
/// Bytes of a cause that are shown.
const CAUSE: usize = 16 << 10;

/// How wasmtime's text of a backtrace begins. It writes this before it looks at any name.
const HEAD: &str = "error while executing at wasm backtrace:";

/// Takes text up to its bound, and of a backtrace only the head: what would write more is ended.
struct Bounded {
    text: String,
    most: usize,
}

impl Bounded {
    fn of(what: &(impl Display + ?Sized), most: usize) -> String {
        let mut bounded = Self {
            text: String::new(),
            most,
        };
        // It fails where it was ended.
        let _ = write!(bounded, "{what}");
        bounded.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        if text.len() > room {
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
            self.text.push('…');
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        match self.text.starts_with(HEAD) {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

/// One cause of an error, in words; of a backtrace only the head.
pub(crate) fn cause(cause: &(impl Display + ?Sized)) -> String {
    Bounded::of(cause, CAUSE)
}

/// An error in words, with the functions that ran and its causes, as wasmtime puts it.
pub(crate) fn text(error: &wasmtime::Error) -> String {
    let causes = error.chain().map(cause);
    let mut causes = causes.map(|text| match text.starts_with(HEAD) {
        true => backtrace(error),
        false => text,
    });
    let mut text = causes.next().unwrap_or_default();
    let causes: Vec<_> = causes.collect();
    if !causes.is_empty() {
        text.push_str("\n\nCaused by:");
    }
    for (at, cause) in causes.iter().enumerate() {
        let _ = match causes.len() {
            1 => write!(text, "\n    {cause}"),
            _ => write!(text, "\n{at: >5}: {cause}"),
        };
    }
    text
}

/// The functions that ran. An error has one backtrace at most.
fn backtrace(error: &wasmtime::Error) -> String {
    let mut text = HEAD.to_owned();
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    for (at, frame) in frames.iter().enumerate() {
        let module = Bounded::of(frame.module().name().unwrap_or("<unknown>"), NAME);
        let function = match frame.func_name() {
            Some(name) => function(name),
            None => format!("<wasm function {}>", frame.func_index()),
        };
        let _ = write!(text, "\n  {at:>3}: ");
        if let Some(offset) = frame.module_offset() {
            let _ = write!(text, "{offset:#8x} - ");
        }
        let _ = write!(text, "{module}!{function}");
    }
    text
}

/// A function's name as its source has it, where that is Rust. Names of C++ stay as they are: one can
/// make its demangling take any time.
fn function(name: &str) -> String {
    match rustc_demangle::try_demangle(name) {
        Ok(name) => Bounded::of(&name, NAME),
        Err(_) => Bounded::of(name, NAME),
    }
}
