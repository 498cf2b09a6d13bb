//! Finds the bundled plugins that `make plugins` built, and writes the list of them that `bundled.rs` includes; they are
//! embedded in the binary as components.

use std::{env, fmt::Write, fs, path::PathBuf};

/// The plugins that are part of the binary, by the names of their directories in `plugins/`. The one place to add one.
const BUNDLED: [&str; 15] = [
    "aac",
    "bitrate-guard",
    "drop-audio",
    "http-auth",
    "ip-rules",
    "jwt",
    "keyframes-only",
    "motion-size",
    "rate-limit",
    "recorder",
    "sei-timestamp",
    "stats",
    "token-auth",
    "track-select",
    "webhook",
];

fn main() {
    let variable = |name| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let guests = variable("CARGO_MANIFEST_DIR").join("../../target/plugins");
    let mut components = String::new();
    let mut missing = false;
    for name in BUNDLED {
        let file = guests.join(name).with_extension("wasm");
        println!("cargo::rerun-if-changed={}", file.display());
        missing |= !file.is_file();
        let line = writeln!(components, "include_bytes!({file:?}),");
        line.expect("a string takes everything");
    }
    if missing {
        println!("cargo::error=the bundled plugins are not built yet: run `make plugins`");
    }
    let list = format!("(&{BUNDLED:?}, &[\n{components}])\n");
    let written = fs::write(variable("OUT_DIR").join("bundled.rs"), list);
    written.expect("cargo's own directory can be written to");
}
