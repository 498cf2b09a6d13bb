//! The door through which libFuzzer comes in; `FUZZ_TARGET` names the target. Built by `scripts/fuzz` only.
#![no_main]
#![allow(unsafe_code, missing_docs, reason = "libFuzzer calls C symbols that a macro exports")]

use std::sync::LazyLock;

use wasmtx_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    Target::find(&name).unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET={name} is none of: {}", names.join(" "));
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
