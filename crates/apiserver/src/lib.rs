//! The embedded Kubernetes API server: SQLite revision log, watch hub, HTTP.
