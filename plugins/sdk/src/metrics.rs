//! Figures for the server's `/metrics`, without a grant. The server adds the plugin's and the path's name as labels.
//!
//! A name is made of lower-case letters, digits and `_`, begins with a letter, has at most 64 of them, and says its unit at the end (`frame_bytes`,
//! `wait_seconds`). A plugin has 64 names on each path, a name belongs to the kind it was used for first, and values are finite; what does not
//! fit is not shown.

use crate::host;

/// Adds to a counter, which begins at zero and never falls.
pub fn counter(name: &str, delta: u64) {
    host::metrics::counter(name, delta);
}

/// Sets what goes up and down.
pub fn gauge(name: &str, value: f64) {
    host::metrics::gauge(name, value);
}

/// Notes one value of many: the server shows how many there were and their sum, of which the reader of `/metrics` makes averages over any time.
pub fn observe(name: &str, value: f64) {
    host::metrics::observe(name, value);
}
