//! What all benchmarks use: processes that are measured, and numbers as people read them. Nothing
//! heavy: a benchmark that links the measured code only should build quickly.
#![forbid(unsafe_code)]

pub mod process;
pub mod report;
