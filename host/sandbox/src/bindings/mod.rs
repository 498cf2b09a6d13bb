//! What `wasmtime` generates from `wit/plugin.wit`: the host's side once, and one module per role of a guest.
//!
//! The roles share the types of the host's side, so that a frame's description is the same Rust type wherever it goes.

pub(crate) mod auth;
pub(crate) mod events;
pub(crate) mod filter;
pub(crate) mod lifecycle;
pub(crate) mod resolver;
pub(crate) mod sink;
pub(crate) mod transcoder;

mod imports {
    wasmtime::component::bindgen!({
        inline: "
            package wasmtx:host;
            world imports {
                import wasmtx:plugin/types@0.1.0;
                import wasmtx:plugin/log@0.1.0;
                import wasmtx:plugin/clock@0.1.0;
                import wasmtx:plugin/random@0.1.0;
                import wasmtx:plugin/metrics@0.1.0;
                import wasmtx:plugin/notify@0.1.0;
                import wasmtx:plugin/frame@0.1.0;
                import wasmtx:plugin/kv@0.1.0;
                import wasmtx:plugin/http@0.1.0;
                import wasmtx:plugin/storage@0.1.0;
                import wasmtx:plugin/recording@0.1.0;
                import wasmtx:plugin/control@0.1.0;
                import wasmtx:plugin/proof@0.1.0;
            }
        ",
        path: "../../wit",
        world: "wasmtx:host/imports",
        with: {
            "wasmtx:plugin/frame.held": crate::host::frame::Held,
            "wasmtx:plugin/storage.file": crate::host::storage::File,
        },
    });
}

pub(crate) use imports::{Imports, wasmtx::plugin};
