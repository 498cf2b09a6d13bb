//! One version of a plugin: code and settings that belong together, and that an instance keeps for its life.

use std::sync::Arc;

use crate::{
    cache::hex,
    component::Code,
    failure::{Failure, Refused},
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
    /// Whether it may only take over with the state of the version before.
    pub(crate) keep_state: bool,
    /// False: somebody switched the plugin off, and no instance is made.
    pub(crate) enabled: bool,
}

impl Version {
    /// Agrees that an instance which cannot read the old state begins without it.
    ///
    /// # Errors
    /// The plugin's entry says `state: keep`.
    pub(crate) fn begin_afresh(&self) -> Result<(), Refused> {
        if self.keep_state {
            return Err(
                Failure::other("it cannot read the state of the old one, and the entry says `state: keep`").into(),
            );
        }
        Ok(())
    }

    /// Enough of the component's digest to tell versions apart.
    pub(crate) fn short(&self) -> String {
        hex(&self.code.digest[..6])
    }
}
