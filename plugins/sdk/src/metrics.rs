//! Figures for the server's `/metrics`, without a grant. The server adds the plugin's and the path's name as labels.
//!
//! A name is made of lower-case letters, digits and `_`, begins with a letter and says its unit at the end (`frame_bytes`, `wait_seconds`). A plugin has
//! 64 of them over all its paths; what is past that, or has no such name, is counted by the server and not shown. A name belongs to the kind it was used for first.

use crate::host;

/// Adds to a counter, which begins at zero and never falls.
pub fn counter(name: &str, delta: u64) {
    host::metrics::counter(name, delta);
}

/// Sets what goes up and down.
pub fn gauge(name: &str, value: f64) {
    host::metrics::gauge(name, value);
}

/// Notes one value of many, for a histogram.
pub fn observe(name: &str, value: f64) {
    host::metrics::observe(name, value);
}
