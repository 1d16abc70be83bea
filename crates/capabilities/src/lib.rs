//! Host interfaces offered to guests: one module per interface, one file per backend.
