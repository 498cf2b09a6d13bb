//! The exports of a filter, called synchronously on the media path.

wasmtime::component::bindgen!({
    inline: "
        package wasmtx:host;
        world filtering {
            export wasmtx:plugin/lifecycle@0.1.0;
            export wasmtx:plugin/filter@0.1.0;
        }
    ",
    path: "../../wit",
    world: "wasmtx:host/filtering",
    with: { "wasmtx:plugin/types": crate::bindings::plugin::types },
});

pub(crate) use exports::wasmtx::plugin::{filter, lifecycle};
