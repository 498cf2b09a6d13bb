//! The exports of an auth plugin, called asynchronously, off the media path.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world deciding { export wasmtx:plugin/auth@0.1.0; }
    ",
    path: "../../wit",
    world: "wasmtx:host/deciding",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
    exports: { default: async },
});

pub(crate) use exports::wasmtx::plugin::auth;
