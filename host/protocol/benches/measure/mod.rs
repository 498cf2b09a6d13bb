//! How the benches of this room measure, and what they print.
#![allow(clippy::disallowed_methods, reason = "a bench looks at the clock")]

use std::time::{Duration, Instant};

/// Measured this often; the middle one counts.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(100);

/// Prints a figure beside the time of one copy of the same bytes.
pub(crate) fn row(figure: &str, copy: f64, call: impl FnMut()) {
    println!(
        "| {figure} | {:.0} ns | {copy:.0} ns (one copy) | – | – |",
        median(call)
    );
}

/// Nanoseconds of one call.
pub(crate) fn median(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            let mut calls = 0;
            while begin.elapsed() < ROUND {
                call();
                calls += 1;
            }
            begin.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
