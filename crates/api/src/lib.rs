//! Every CRD Waft serves, as a Rust type: schema, CEL rules, printer columns, well-known names.
