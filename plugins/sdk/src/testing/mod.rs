//! A pretended server for `cargo test`.
