//! Kubernetes API semantics over JSON values, without IO.
