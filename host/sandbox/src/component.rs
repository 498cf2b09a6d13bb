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
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Auth => "auth",
            Role::Filter => "filter",
        })
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
    pub(crate) auth: Option<bindings::auth::DecidingPre<State>>,
}

impl Code {
    /// Whether it can do `role`.
    pub(crate) fn has(&self, role: Role) -> bool {
        match role {
            Role::Auth => self.auth.is_some(),
            Role::Filter => self.filter.is_some(),
        }
    }

    pub(crate) fn roles(&self) -> Vec<Role> {
        [Role::Auth, Role::Filter]
            .into_iter()
            .filter(|role| self.has(*role))
            .collect()
    }
}

/// Admits, compiles and links.
pub(crate) struct Loader {
    clocked: Arc<Clocked>,
    compiler: Compiler,
    /// Nothing in it waits, so the same serves filters (called synchronously) and auth (called on fibers).
    linker: Linker<State>,
}

const PACKAGE: &str = "wasmtx:plugin/";
const LIFECYCLE: &str = "lifecycle";

impl Loader {
    pub(crate) fn new(clocked: Arc<Clocked>, compiler: Compiler) -> wasmtime::Result<Loader> {
        Ok(Loader {
            linker: host::linker(&clocked.engine)?,
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
        let component = self.compiler.compile(bytes, &digest)?;
        self.check_imports(&component)?;
        let (mut auth, mut filter, mut lifecycle, mut others) = (false, false, false, Vec::new());
        for (name, _) in component.component_type().exports(&self.clocked.engine) {
            match interface(name) {
                Some("auth") => auth = true,
                Some("filter") => filter = true,
                Some(LIFECYCLE) => lifecycle = true,
                Some(other) => others.push(other.to_owned()),
                None => {}
            }
        }
        if !lifecycle {
            return Err(format!("it does not export {PACKAGE}{LIFECYCLE}"));
        }
        if !auth && !filter {
            return Err(match &others[..] {
                [] => format!("it exports no role ({PACKAGE}auth or {PACKAGE}filter)"),
                others => format!(
                    "it only exports {}, which this version of wasmtx does not run",
                    others.join(", ")
                ),
            });
        }
        let linked = self.linker.instantiate_pre(&component).map_err(mismatch)?;
        Ok(Code {
            clocked: self.clocked.clone(),
            digest,
            filter: filter
                .then(|| bindings::filter::FilteringPre::new(linked.clone()))
                .transpose()
                .map_err(mismatch)?,
            auth: auth
                .then(|| bindings::auth::DecidingPre::new(linked.clone()))
                .transpose()
                .map_err(mismatch)?,
            configuring: bindings::lifecycle::ConfiguringPre::new(linked).map_err(mismatch)?,
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
fn interface(name: &str) -> Option<&str> {
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
