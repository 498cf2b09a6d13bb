//! A component that passed all checks, linked once per role.

use std::{fmt, sync::Arc};

use wasmtime::component::{Component, Linker};

use crate::{
    admission, bindings,
    cache::{self, Digest},
    compile::Compiler,
    engine::Clocked,
    host::{self, State},
    limits::Limits,
};

/// What a plugin may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Decides who may do what.
    Auth,
    /// Sees frames on the media path.
    Filter,
    /// Takes frames from a cursor of its own.
    Sink,
    /// Plans which tracks are re-encoded.
    Transcoder,
    /// Learns what happened.
    Events,
    /// Finds streams for paths that nobody publishes.
    Resolver,
}

impl Role {
    /// Each of them.
    pub const ALL: [Role; 6] = [
        Role::Auth,
        Role::Filter,
        Role::Sink,
        Role::Transcoder,
        Role::Events,
        Role::Resolver,
    ];

    /// The interface of the contract, and the word of mediamtx.yml.
    pub fn name(self) -> &'static str {
        match self {
            Role::Auth => "auth",
            Role::Filter => "filter",
            Role::Sink => "sink",
            Role::Transcoder => "transcoder",
            Role::Events => "events",
            Role::Resolver => "resolver",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loaded component: what instances are made from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Code {
    /// Keeps the ticker going for as long as an instance may run.
    pub(crate) clocked: Arc<Clocked>,
    pub(crate) digest: Digest,
    /// Only configures: to check a configuration whatever the roles are.
    pub(crate) configuring: bindings::lifecycle::ConfiguringPre<State>,
    pub(crate) filter: Option<bindings::filter::FilteringPre<State>>,
    pub(crate) transcoder: Option<bindings::transcoder::PlanningPre<State>>,
    pub(crate) auth: Option<bindings::auth::DecidingPre<State>>,
    pub(crate) sink: Option<bindings::sink::SinkingPre<State>>,
    pub(crate) events: Option<bindings::events::ObservingPre<State>>,
    pub(crate) resolver: Option<bindings::resolver::ResolvingPre<State>>,
}

impl Code {
    /// Whether it can do `role`.
    pub(crate) fn has(&self, role: Role) -> bool {
        match role {
            Role::Auth => self.auth.is_some(),
            Role::Filter => self.filter.is_some(),
            Role::Sink => self.sink.is_some(),
            Role::Transcoder => self.transcoder.is_some(),
            Role::Events => self.events.is_some(),
            Role::Resolver => self.resolver.is_some(),
        }
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.has(*role)).collect()
    }
}

/// Admits, compiles and links.
pub(crate) struct Loader {
    clocked: Arc<Clocked>,
    compiler: Compiler,
    /// For what is called synchronously: nothing in it waits.
    media: Linker<State>,
    /// For what is called on fibers: some of it waits, and a component linked to it can be called in no other way.
    control: Linker<State>,
}

const PACKAGE: &str = "wasmtx:plugin/";
const LIFECYCLE: &str = "lifecycle";

impl Loader {
    pub(crate) fn new(clocked: Arc<Clocked>, compiler: Compiler) -> wasmtime::Result<Loader> {
        Ok(Loader {
            media: host::media(&clocked.engine)?,
            control: host::control(&clocked.engine)?,
            clocked,
            compiler,
        })
    }

    /// Turns bytes into something to make instances of. Blocks while compiling.
    ///
    /// # Errors
    /// One sentence on why wasmtx does not run this file.
    pub(crate) fn load(&self, bytes: &Arc<[u8]>, limits: &Limits) -> Result<Code, String> {
        admission::check(bytes, limits)?;
        let digest = cache::digest(bytes);
        let component = self.compiler.compile(bytes, &digest, limits)?;
        self.check_imports(&component)?;
        let exported: Vec<_> = component
            .component_type()
            .exports(&self.clocked.engine)
            .filter_map(|(name, _)| interface(name).map(str::to_owned))
            .collect();
        if !exported.iter().any(|name| name == LIFECYCLE) {
            return Err(format!("it does not export {PACKAGE}{LIFECYCLE}"));
        }
        let has = |role: Role| exported.iter().any(|name| name == role.name());
        if !Role::ALL.into_iter().any(has) {
            return Err(format!(
                "it exports no role ({})",
                Role::ALL.map(|role| format!("{PACKAGE}{role}")).join(", ")
            ));
        }
        let media = self.media.instantiate_pre(&component).map_err(mismatch)?;
        let control = self.control.instantiate_pre(&component).map_err(mismatch)?;
        /// The exports of a role, if the component has it.
        macro_rules! role {
            ($role:expr, $exports:path, $linked:expr) => {
                has($role)
                    .then(|| <$exports>::new($linked.clone()))
                    .transpose()
                    .map_err(mismatch)?
            };
        }
        Ok(Code {
            clocked: self.clocked.clone(),
            digest,
            filter: role!(Role::Filter, bindings::filter::FilteringPre<State>, media),
            transcoder: role!(Role::Transcoder, bindings::transcoder::PlanningPre<State>, media),
            auth: role!(Role::Auth, bindings::auth::DecidingPre<State>, control),
            sink: role!(Role::Sink, bindings::sink::SinkingPre<State>, control),
            events: role!(Role::Events, bindings::events::ObservingPre<State>, control),
            resolver: role!(Role::Resolver, bindings::resolver::ResolvingPre<State>, control),
            configuring: bindings::lifecycle::ConfiguringPre::new(media).map_err(mismatch)?,
        })
    }

    /// Names every import that the host does not have, instead of the linker's first.
    fn check_imports(&self, component: &Component) -> Result<(), String> {
        let unknown: Vec<_> = component
            .component_type()
            .imports(&self.clocked.engine)
            .map(|(name, _)| name.to_owned())
            .filter(|name| !interface(name).is_some_and(|name| host::INTERFACES.contains(&name)))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "it imports {}, which wasmtx does not offer",
            unknown.join(", ")
        ))
    }
}

/// `wasmtx:plugin/filter@0.1.3` is `filter`; another package or an incompatible version is nothing.
pub(crate) fn interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    version.strip_prefix("0.1.").map(|_| interface)
}

fn mismatch(error: wasmtime::Error) -> String {
    format!("it does not fit the contract wasmtx:plugin@0.1.0: {error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_compatible_versions_are_known() {
        assert_eq!(interface("wasmtx:plugin/filter@0.1.0"), Some("filter"));
        assert_eq!(interface("wasmtx:plugin/filter@0.1.9"), Some("filter"));
        assert_eq!(interface("wasmtx:plugin/filter@0.2.0"), None);
        assert_eq!(interface("wasi:cli/environment@0.2.0"), None);
        assert_eq!(interface("filter"), None);
    }
}
