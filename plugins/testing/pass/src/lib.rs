//! A filter that asks for every frame and passes it: what a call costs, and nothing else.

use wasmtx_plugin::filter::Filter;
use wasmtx_plugin::{Error, NoConfig, Plugin};

struct Pass;

impl Plugin for Pass {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Error> {
        Ok(Pass)
    }
}

impl Filter for Pass {}

wasmtx_plugin::export!(Pass: filter);
