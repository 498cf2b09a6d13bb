//! Finds the bundled plugins that `make plugins` built; they are embedded in the binary as components.

use std::{env, path::PathBuf};

/// Keep in step with `bundled.rs`.
const BUNDLED: [&str; 3] = ["keyframes-only", "token-auth", "drop-audio"];

fn main() {
    let room = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let guests = room.join("../../target/plugins");
    let mut missing = false;
    for name in BUNDLED {
        let file = guests.join(name).with_extension("wasm");
        println!("cargo::rerun-if-changed={}", file.display());
        missing |= !file.is_file();
    }
    if missing {
        println!("cargo::error=the bundled plugins are not built yet: run `make plugins`");
    }
    println!("cargo::rustc-env=WASMTX_GUESTS={}", guests.display());
}
