//! Operating systems and processors under the names that Kubernetes has for them: those of Go.

/// The name of an operating system that Rust calls so.
pub fn os(name: &str) -> &str {
    match name {
        "macos" => "darwin",
        same => same,
    }
}

/// The name of an architecture that Rust calls so.
pub fn arch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        same => same,
    }
}
