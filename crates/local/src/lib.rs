//! waft up: API server, operator, host and router composed in one process.
