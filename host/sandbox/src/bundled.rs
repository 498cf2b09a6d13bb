//! The plugins that are part of the binary. `make plugins` builds them, `build.rs` finds them.

/// The component of a bundled plugin.
pub(crate) fn component(name: &str) -> Option<&'static [u8]> {
    Some(match name {
        "keyframes-only" => include_bytes!(concat!(env!("WASMTX_GUESTS"), "/keyframes-only.wasm")),
        "token-auth" => include_bytes!(concat!(env!("WASMTX_GUESTS"), "/token-auth.wasm")),
        "drop-audio" => include_bytes!(concat!(env!("WASMTX_GUESTS"), "/drop-audio.wasm")),
        _ => return None,
    })
}

/// The names of the bundled plugins.
pub const BUNDLED: [&str; 3] = ["keyframes-only", "token-auth", "drop-audio"];
