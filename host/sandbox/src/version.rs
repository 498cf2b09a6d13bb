//! One version of a plugin: code and settings that belong together, and that an instance keeps for its life.

use std::sync::Arc;

use crate::{
    cache::hex,
    component::Code,
    host::{Grants, Outside},
    limits::Limits,
    policy::OnError,
};

/// Everything that an instance is made from.
#[derive(Clone)]
pub(crate) struct Version {
    /// Grows with every change of the plugin; never 0.
    pub(crate) number: u64,
    pub(crate) code: Code,
    /// The plugin's `config` as JSON text, for uses that have none of their own.
    pub(crate) config: Arc<str>,
    pub(crate) grants: Grants,
    pub(crate) outside: Outside,
    pub(crate) limits: Limits,
    pub(crate) on_error: OnError,
    pub(crate) allow_track_change: bool,
    /// False: somebody switched the plugin off, and no instance is made.
    pub(crate) enabled: bool,
}

impl Version {
    /// Enough of the component's digest to tell versions apart.
    pub(crate) fn short(&self) -> String {
        hex(&self.code.digest[..6])
    }
}
