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
