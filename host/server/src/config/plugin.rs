//! Plugins in the file: the registry (`plugins:` at top level, a map) and their use on a path (a list).

mod limits;

pub use self::limits::Limits;
use super::{
    location::BUILTIN,
    node::{Content, Node},
    schema::{Reader, Shape, Value, choices, describe, settings},
    secret::{Fingerprint, REDACTED},
    value::text,
};
use serde_json::Value as Json;

pub use super::{
    grant::{Control, Files, Folder, Grant, Hosts, KeyValues, Storage},
    location::{Location, Signer},
    lock::{Lock, Locked, NAME as LOCK},
};

/// Appends to the chain of pathDefaults.
const EXTEND: char = '+';
/// The plugins that the server brings along.
pub const BUNDLED: &[&str] = wasmtx_sandbox::BUNDLED;
/// Longest name of a plugin.
const MAX_NAME: usize = 64;

/// A plugin's own configuration, handed to it as JSON text. The API does not show it: it may hold keys.
#[derive(Clone, Default, PartialEq)]
pub struct Settings(pub Json);

impl Value for Settings {
    fn shape() -> Shape {
        Shape::Json
    }

    fn read(node: &Node, _: &mut Reader) -> Option<Self> {
        Some(Settings(node.to_json()))
    }

    fn json(&self) -> Json {
        if self.0.is_null() {
            Json::Null
        } else {
            Json::from(REDACTED)
        }
    }
}

choices! {
    /// What a failing auth plugin means for who asks.
    pub enum AuthFailure {
        /// Nobody enters.
        Deny = "deny",
        /// The next plugin, or the configured method, decides.
        Next = "next",
    }
}

choices! {
    /// What happens to a frame that a filter failed on.
    pub enum FilterFailure {
        /// The original goes on.
        Pass = "pass",
        /// It is left out.
        Drop = "drop",
        /// The path is closed.
        Close = "close",
    }
}

choices! {
    /// What happens to a sink that failed.
    pub enum SinkFailure {
        /// It starts again at the next keyframe.
        Restart = "restart",
        /// It stays off.
        Stop = "stop",
    }
}

choices! {
    /// What happens when a transcoder failed.
    pub enum TranscoderFailure {
        /// The tracks stay as they are.
        Keep = "keep",
        /// The path is closed.
        Close = "close",
    }
}

settings! {
    /// What a failure means, per role of the plugin.
    pub struct OnError {
        /// For auth.
        "auth" => auth: AuthFailure = AuthFailure::Deny,
        /// For filters.
        "filter" => filter: FilterFailure = FilterFailure::Pass,
        /// For sinks.
        "sink" => sink: SinkFailure = SinkFailure::Restart,
        /// For transcoders.
        "transcoder" => transcoder: TranscoderFailure = TranscoderFailure::Keep,
    }
}

/// [`OnError`] as it is written: one word for the roles that know it, or one per role.
#[derive(Clone, Default, PartialEq)]
pub struct Policy(pub OnError);

impl Value for Policy {
    fn shape() -> Shape {
        OnError::shape()
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(word) = text(node) else {
            return OnError::read(node, reader).map(Policy);
        };
        let mut policy = OnError::default();
        match word {
            "deny" => policy.auth = AuthFailure::Deny,
            "next" => policy.auth = AuthFailure::Next,
            "pass" => policy.filter = FilterFailure::Pass,
            "drop" => policy.filter = FilterFailure::Drop,
            "restart" => policy.sink = SinkFailure::Restart,
            "stop" => policy.sink = SinkFailure::Stop,
            "keep" => policy.transcoder = TranscoderFailure::Keep,
            "close" => (policy.filter, policy.transcoder) = (FilterFailure::Close, TranscoderFailure::Close),
            _ => {
                let words = ["deny", "next", "pass", "drop", "close", "restart", "stop", "keep"];
                return super::value::wrong_choice(node, &words, reader);
            }
        }
        Some(Policy(policy))
    }

    fn json(&self) -> Json {
        self.0.json()
    }
}

choices! {
    /// Whether each use of a plugin has an instance of its own.
    pub enum Instances {
        /// One per path and use.
        Own = "own",
        /// One for all: for script runtimes, whose instances are large.
        Shared = "shared",
    }
}

choices! {
    /// Where a filter runs.
    pub enum Run {
        /// On the publisher's task until it turns out slow.
        Auto = "auto",
        /// On the publisher's task.
        Inline = "inline",
        /// On media threads behind a queue.
        Thread = "thread",
    }
}

choices! {
    /// What a new version does with the state of the old one when it cannot take it over.
    pub enum State {
        /// It starts afresh.
        Fresh = "fresh",
        /// The old version stays.
        Keep = "keep",
    }
}

settings! {
    /// One entry of the registry.
    pub struct Plugin {
        /// Where the component is.
        "file" => file: Location = Location::Bundled,
        /// Its digest; another file is refused.
        "sha256" => sha256: Fingerprint = Fingerprint::default(),
        /// Who has to have signed it, if it is fetched.
        "publicKey" => public_key: Signer = Signer::default(),
        /// Its configuration.
        "config" => config: Settings = Settings::default(),
        /// What it may use.
        "grant" => grant: Grant = Grant::default(),
        /// What it may take.
        "limits" => limits: Limits = Limits::default(),
        /// What a failure means.
        "onError" => on_error: Policy = Policy::default(),
        /// One instance per use, or one for all.
        "instances" => instances: Instances = Instances::Own,
        /// Where it runs.
        "run" => run: Run = Run::Auto,
        /// What becomes of state that a new version cannot take over.
        "state" => state: State = State::Fresh,
        /// Whether a new version may change a stream's tracks, which closes its readers.
        "allowTrackChange" => allow_track_change: bool = false,
    }
}

settings! {
    /// One plugin of a path's chain, with what this use says differently.
    pub struct Use {
        /// Name in the registry, or of a bundled plugin.
        "use" => name: String = String::new(),
        /// Configuration in place of the registry's.
        "config" => config: Option<Settings> = None,
        /// Failure policy in place of the registry's.
        "onError" => on_error: Option<Policy> = None,
        /// Where it runs, in place of what the registry says.
        "run" => run: Option<Run> = None,
        /// Whether a new version may change this stream's tracks, in place of what the registry says.
        "allowTrackChange" => allow_track_change: Option<bool> = None,
    }
}

impl Use {
    /// The name, and whether only the bundled plugin of that name is meant.
    pub fn target(&self) -> (&str, bool) {
        match self.name.strip_prefix(BUILTIN) {
            Some(name) => (name, true),
            None => (&self.name, false),
        }
    }
}

/// A path's chain, in order. Names that begin with `+` append to the chain of pathDefaults instead of replacing it.
#[derive(Clone, Default, PartialEq)]
pub struct Chain(pub Vec<Use>);

/// An entry of a chain: a bare name or a map.
struct Link {
    plugin: Use,
    extends: bool,
}

impl Link {
    fn read(node: &Node, reader: &mut Reader) -> Option<Link> {
        let mut plugin = match &node.content {
            Content::Scalar(name, _) => Use {
                name: name.to_string(),
                ..Use::default()
            },
            Content::Map(_) => Use::read(node, reader)?,
            Content::List(_) => return reader.expected(node, "a plugin's name, or a map with `use`"),
        };
        let extends = plugin.name.starts_with(EXTEND);
        if extends {
            plugin.name.remove(0);
        }
        if plugin.name.is_empty() {
            reader.refuse(&node.origin, "the name of the plugin is missing (`use`)");
            return None;
        }
        if !valid_name(plugin.target().0) {
            return reader.expected(node, "the name of a plugin");
        }
        Some(Link { plugin, extends })
    }
}

/// Letters, digits, `-`, `_` and `.`, so that names fit in logs, metrics and file names.
pub(crate) fn valid_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(valid)
}

impl Value for Chain {
    fn shape() -> Shape {
        Shape::List(Use::shape)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut chain = Chain::default();
        chain.apply(node, reader);
        Some(chain)
    }

    fn json(&self) -> Json {
        self.0.iter().map(Use::json).collect()
    }

    fn apply(&mut self, node: &Node, reader: &mut Reader) {
        let Content::List(items) = &node.content else {
            reader.expected::<()>(node, "a list of plugins");
            return;
        };
        let mut links = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            match reader.within(&i.to_string(), |reader| Link::read(item, reader)) {
                Some(link) => links.push((link, item)),
                None => return,
            }
        }
        let extends = links.first().is_some_and(|(link, _)| link.extends);
        if let Some((_, odd)) = links.iter().find(|(link, _)| link.extends != extends) {
            let message = format!(
                "{}: either all names begin with `+` (append) or none (replace)",
                describe(odd)
            );
            reader.refuse(&odd.origin, message);
            return;
        }
        if !extends {
            self.0.clear();
        }
        self.0.extend(links.into_iter().map(|(link, _)| link.plugin));
    }
}
