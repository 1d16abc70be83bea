//! The linker of this toolchain is older than imports with names of their own, so it makes a core
//! module; `tests/guests` makes the component of it.
fn main() {
    println!("cargo:rustc-link-arg=--skip-wit-component");
    println!("cargo:rerun-if-changed=build.rs");
}
