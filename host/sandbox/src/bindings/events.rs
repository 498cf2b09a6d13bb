//! What a plugin with the role `events` exports, called asynchronously, off the media path.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world observing { export wasmtx:plugin/events@0.1.0; }
    ",
    path: "../../wit",
    world: "wasmtx:host/observing",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
    exports: { default: async },
});

pub(crate) use exports::wasmtx::plugin::events;
