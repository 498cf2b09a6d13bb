//! What `wit-bindgen` makes of `wit/plugin.wit`: one module for everything the host offers and one per interface that a plugin may export.
//!
//! They are apart so that a plugin says only what it is: the worlds below are merged into the component that exports them, and an import nobody
//! calls is not linked. The types are made once, in [`imports`].
#![allow(missing_docs, unreachable_pub, unused_qualifications, unsafe_code, clippy::all)]

/// The host's side.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package wasmtx:guest;
            world imports {
                import wasmtx:plugin/types@0.1.0;
                import wasmtx:plugin/frame@0.1.0;
                import wasmtx:plugin/log@0.1.0;
                import wasmtx:plugin/clock@0.1.0;
                import wasmtx:plugin/random@0.1.0;
                import wasmtx:plugin/proof@0.1.0;
                import wasmtx:plugin/kv@0.1.0;
                import wasmtx:plugin/http@0.1.0;
                import wasmtx:plugin/storage@0.1.0;
                import wasmtx:plugin/recording@0.1.0;
                import wasmtx:plugin/metrics@0.1.0;
                import wasmtx:plugin/notify@0.1.0;
                import wasmtx:plugin/control@0.1.0;
            }
        ",
        world: "wasmtx:guest/imports",
        generate_all,
        ownership: Borrowing { duplicate_if_necessary: false },
        additional_derives: [PartialEq],
        additional_derives_ignore: ["held", "part", "file"],
        generate_unused_types: true,
    });
}

/// `lifecycle`, which every plugin exports.
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world lifecycle { export wasmtx:plugin/lifecycle@0.1.0; }",
        world: "wasmtx:guest/lifecycle",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "wasmtx_plugin::bindings::lifecycle",
    });
}

/// `filter`.
pub mod filter {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world filter { export wasmtx:plugin/filter@0.1.0; }",
        world: "wasmtx:guest/filter",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_filter",
        default_bindings_module: "wasmtx_plugin::bindings::filter",
        additional_derives: [PartialEq],
    });
}

/// `auth`.
pub mod auth {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world auth { export wasmtx:plugin/auth@0.1.0; }",
        world: "wasmtx:guest/auth",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_auth",
        default_bindings_module: "wasmtx_plugin::bindings::auth",
        additional_derives: [PartialEq],
    });
}

/// `sink`.
pub mod sink {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world sink { export wasmtx:plugin/sink@0.1.0; }",
        world: "wasmtx:guest/sink",
        with: {
            "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types,
            "wasmtx:plugin/frame@0.1.0": crate::bindings::imports::wasmtx::plugin::frame,
        },
        pub_export_macro: true,
        export_macro_name: "export_sink",
        default_bindings_module: "wasmtx_plugin::bindings::sink",
        additional_derives: [PartialEq],
        additional_derives_ignore: ["item"],
    });
}

/// `transcoder`.
pub mod transcoder {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world transcoder { export wasmtx:plugin/transcoder@0.1.0; }",
        world: "wasmtx:guest/transcoder",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_transcoder",
        default_bindings_module: "wasmtx_plugin::bindings::transcoder",
        additional_derives: [PartialEq],
    });
}

/// `events`.
pub mod events {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world events { export wasmtx:plugin/events@0.1.0; }",
        world: "wasmtx:guest/events",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_events",
        default_bindings_module: "wasmtx_plugin::bindings::events",
        additional_derives: [PartialEq],
    });
}

/// `resolver`.
pub mod resolver {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package wasmtx:guest; world resolver { export wasmtx:plugin/resolver@0.1.0; }",
        world: "wasmtx:guest/resolver",
        with: { "wasmtx:plugin/types@0.1.0": crate::bindings::imports::wasmtx::plugin::types },
        pub_export_macro: true,
        export_macro_name: "export_resolver",
        default_bindings_module: "wasmtx_plugin::bindings::resolver",
        additional_derives: [PartialEq],
    });
}
