//! The configuration: mediamtx.yml, the environment over it, and defaults below it.
//!
//! Text becomes a tree that knows positions (`yaml`, `node`), the environment and the API change the tree (`env`, `edit`), old
//! keys are rewritten in it (`deprecated`), the typed schema is read from it (`schema` makes it out of the tables in
//! `global`, `path`, `limits`, `plugin` and `grant`), and rules between keys come last (`rules`). What the schema knows and this
//! version does not do yet is one table (`built`).

mod built;
mod deprecated;
mod edit;
mod env;
mod error;
mod forward;
mod global;
mod grant;
mod limits;
mod load;
mod location;
mod lock;
mod node;
mod path;
mod paths;
pub mod plugin;
mod rules;
mod schema;
mod secret;
mod suggest;
#[cfg(test)]
mod tests;
mod units;
mod user;
mod value;
mod yaml;

pub use edit::Edit;
pub use error::{Origin, Problem, Problems};
pub use forward::{Dest, Forward};
pub use global::{
    AuthFallback, AuthMethod, AuthStep, DEFAULT_WRITE_QUEUE, DigestAlgorithm, Encryption, Global, HlsSessions,
    HlsVariant, IceServer, LogDestination, LogLevel, RtspAuthMethod, RtspTransport,
};
pub use limits::Limits;
pub use load::{environment, load};
pub use path::{
    MoqTransport, OfflineCodec, OfflineTrack, PathConf, RangeType, ReaderStart, RecordFormat, Source, SourceKind,
    SourceTransport,
};
pub use paths::{Matcher, PathEntry, Paths};
pub use secret::{Credential, Fingerprint, Password, REDACTED, Secret};
pub use units::Size;
pub(crate) use units::format_duration;
pub use user::{ANYBODY, Action, Pattern, Permission, User};
pub use value::Address;

use node::{Content, Node};
use schema::{Reader, Settings};
use serde_json::Value as Json;
use std::{collections::BTreeMap, path::PathBuf};
use wasmtx_endpoints::fetch::Fetched;

/// Keys at the top that are no settings themselves.
const SECTIONS: [&str; 2] = ["pathDefaults", "paths"];

/// A checked configuration.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The file it came from, when there was one.
    pub file: Option<PathBuf>,
    /// All settings that are not a path's.
    pub global: Global,
    /// What every path starts from.
    pub path_defaults: PathConf,
    /// The entries of `paths`.
    pub paths: Paths,
    /// What the operator should know: deprecated keys, keys without effect, open doors. One sentence each.
    pub warnings: Vec<String>,
    /// Protocols that are on and not served yet.
    pub unserved: Vec<&'static str>,
    /// What the plugins that are fetched are known to be.
    pub lock: plugin::Lock,
    /// The same plugins once they are here.
    pub(crate) fetched: BTreeMap<String, Fetched>,
    /// What was written, for changes through the API.
    tree: Node,
}

impl Config {
    /// The global settings as the API shows them.
    pub fn global_json(&self) -> Json {
        Json::Object(self.global.to_json())
    }

    /// Complaints about keys by their place, for checks that come after reading.
    pub(crate) fn problems<'a>(&self, complaints: Vec<(impl AsRef<[&'a str]>, String)>) -> Problems {
        let mut problems = Problems::default();
        for (trail, message) in complaints {
            let trail = trail.as_ref();
            problems.refuse(&self.tree.locate(trail), trail.join("."), message);
        }
        match &self.file {
            Some(file) => problems.in_file(file),
            None => problems,
        }
    }

    /// pathDefaults as the API shows them.
    pub fn path_defaults_json(&self) -> Json {
        Json::Object(self.path_defaults.to_json())
    }
}

/// Reads a configuration from YAML text, and lays environment variables over it.
///
/// # Errors
/// Everything that is wrong, in the order of the text.
pub fn parse(text: &str, environment: &[(String, String)]) -> Result<Config, Problems> {
    if env::encrypted(environment) {
        return Err(Problems::whole(
            "MTX_CONFKEY is set, and encrypted configurations are not built yet",
        ));
    }
    let mut tree = yaml::parse(text)?;
    if tree.is_null() {
        tree = Node::map(Origin::Default);
    }
    if !matches!(tree.content, Content::Map(_)) {
        return Err(Problems::whole(format!(
            "a configuration has keys with values, found {}",
            schema::describe(&tree)
        )));
    }
    let warnings = env::overlay(&mut tree, environment);
    assemble(tree, warnings)
}

/// Reads the typed schema from a tree, old keys included, and checks it.
fn assemble(mut tree: Node, mut warnings: Vec<String>) -> Result<Config, Problems> {
    // What is kept for later changes is what was written: rewriting takes old keys apart.
    let written = tree.clone();
    let mut found = deprecated::rewrite(&mut tree);
    warnings.append(&mut found.warnings);
    let mut reader = Reader::default();
    reader.problems.extend(std::mem::take(&mut found.problems));
    let global = read_global(&tree, &mut reader);
    let mut path_defaults = PathConf {
        auth_order: global.auth_order.clone(),
        auth_fallback: global.auth_fallback,
        ..PathConf::default()
    };
    if let Some(defaults) = tree.get("pathDefaults") {
        reader.within("pathDefaults", |reader| {
            schema::apply_map(&mut path_defaults, defaults, reader)
        });
    }
    let paths = reader.within("paths", |reader| Paths::read(tree.get("paths"), &path_defaults, reader));
    let unserved = built::unserved(&global);
    let mut config = Config {
        file: None,
        global,
        path_defaults,
        paths,
        warnings,
        unserved,
        lock: plugin::Lock::default(),
        fetched: BTreeMap::new(),
        tree,
    };
    rules::adopt_credentials(&mut config, &found, &mut reader);
    let mut problems = reader.problems;
    problems.extend(rules::check(&config));
    problems.sorted().into_result()?;
    config.warnings.extend(rules::open_doors(&config));
    config.warnings.extend(built::warning(&config));
    config.tree = written;
    Ok(config)
}

fn read_global(tree: &Node, reader: &mut Reader) -> Global {
    let mut global = Global::default();
    for entry in tree.entries() {
        if SECTIONS.contains(&&*entry.key) {
            continue;
        }
        let shown = entry.written.as_deref().unwrap_or(&entry.key);
        let known = reader.within(shown, |reader| {
            if entry.value.is_null() {
                Global::fields().iter().any(|field| field.key == &*entry.key)
            } else {
                global.apply_key(&entry.key, &entry.value, reader)
            }
        });
        if known {
            continue;
        }
        if PathConf::fields().iter().any(|field| field.key == &*entry.key) {
            let message = "this is a key of a path: put it below pathDefaults or an entry of paths";
            reader.within(shown, |reader| reader.refuse(&entry.origin, message));
        } else {
            let keys = Global::fields().iter().map(|field| field.key);
            reader.unknown(
                &entry.key,
                &entry.origin,
                keys.chain(SECTIONS).chain(deprecated::global_keys()),
            );
        }
    }
    global
}
