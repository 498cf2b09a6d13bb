//! What a plugin with the role `sink` exports, called asynchronously, off the media path.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world sinking { export wasmtx:plugin/sink@0.1.0; }
    ",
    path: "../../wit",
    world: "wasmtx:host/sinking",
    with: {
        "wasmtx:plugin/types": crate::bindings::plugin::types,
        "wasmtx:plugin/frame": crate::bindings::plugin::frame,
    },
    exports: { default: async },
});

pub(crate) use exports::wasmtx::plugin::sink;
