//! What every plugin exports, whatever its role: enough to check a configuration with an instance that does nothing else.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world configuring { export wasmtx:plugin/lifecycle@0.1.0; }
    ",
    path: "../../wit",
    world: "wasmtx:host/configuring",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
});

/// The same, called on fibers.
pub(crate) mod waiting {
    wasmtime::component::bindgen!({
        inline: "
            package wasmtx:host;
            world living { export wasmtx:plugin/lifecycle@0.1.0; }
        ",
        path: "../../wit",
        world: "wasmtx:host/living",
        with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
        exports: { default: async },
    });

    pub(crate) use exports::wasmtx::plugin::lifecycle::Snapshot;
}
