//! conformance stub being written
