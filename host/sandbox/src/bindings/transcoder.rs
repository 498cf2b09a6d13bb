//! The exports of a transcoder, asked synchronously when a stream begins.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world planning {
            export wasmtx:plugin/lifecycle@0.1.0;
            export wasmtx:plugin/transcoder@0.1.0;
        }
    ",
    path: "../../wit",
    world: "wasmtx:host/planning",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
});

pub(crate) use exports::wasmtx::plugin::transcoder;
