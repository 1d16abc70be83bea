//! The `waft` command: arguments, settings, one function per command, one printer.
//!
//! What the commands do happens elsewhere: `waft up` is [`waft_local`], the rest is said to a
//! Kubernetes API, whichever it is.
#![forbid(unsafe_code)]

mod advice;
mod arguments;
mod commands;
mod connection;
mod exit;
mod printer;
mod settings;
mod table;
mod text;

/// For who builds it for long runs: requests and messages take less with it (docs/performance.md).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    // Fails only if a provider is set already, and nothing ran before this line.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = arguments::parse(std::env::args_os());
    commands::run(arguments).into()
}
