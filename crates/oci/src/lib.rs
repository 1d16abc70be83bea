//! Pull, verify and cache Wasm images: registries, OCI layouts, local files.
