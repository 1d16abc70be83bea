//! Benchmarks of the waft binary and its parts.
