//! What a plugin with the role `resolver` exports, called asynchronously, off the media path.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world resolving { export wasmtx:plugin/resolver@0.1.0; }
    ",
    path: "../../wit",
    world: "wasmtx:host/resolving",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
    exports: { default: async },
});

pub(crate) use exports::wasmtx::plugin::resolver;
