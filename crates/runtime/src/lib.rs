//! wasmtime: engine, compile cache, linking, instance pools, limits, epochs.
