//! Placeholder until the figures are there.

fn main() {}
