//! What recordings are called: the template that a segment's file name comes from, and goes back to.
//!
//! Whoever records makes names of times, whoever lists and deletes makes times of names; both mean the same only if
//! one piece of code says what.

mod civil;
mod format;
mod template;

pub use format::Format;
pub use template::{InvalidTemplate, Match, Template};

#[cfg(test)]
mod tests;
