//! Who may do what: the users of the file, their permissions, and the patterns that permissions name paths with.

use super::{
    node::Node,
    schema::{Reader, Value, choices, describe, settings},
    secret::{Credential, Password},
    value::text,
};
use ipnet::IpNet;
use regex::Regex;
use serde_json::Value as Json;

/// The user that matches everybody, and asks for no password.
pub const ANYBODY: &str = "any";

choices! {
    /// What somebody wants to do.
    pub enum Action {
        /// Send a stream to a path.
        Publish = "publish",
        /// Receive a path's stream.
        Read = "read",
        /// Receive recordings.
        Playback = "playback",
        /// Use the control API.
        Api = "api",
        /// Fetch metrics.
        Metrics = "metrics",
        /// Fetch profiles.
        Pprof = "pprof",
        /// Push, reload and disable plugins; never granted by default.
        Plugins = "plugins",
    }
}

/// The paths that a permission is about: empty for all, a name, or `~` and a regular expression.
#[derive(Clone, Default)]
pub struct Pattern {
    text: String,
    regex: Option<Regex>,
    /// Paths with an entry of their own, when the pattern is that of an entry for all others.
    except: Vec<String>,
}

impl Pattern {
    /// Whether the pattern covers this path. A request without a path (API, metrics) asks with an empty name.
    pub fn covers(&self, path: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(path) && !self.except.iter().any(|name| name == path),
            None => self.text.is_empty() || self.text == path,
        }
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The paths of an entry of `paths`: its own name, or all that match it and have no entry of their own.
    pub(crate) fn of_entry(key: &str, regex: Option<&Regex>, named: &[&str]) -> Pattern {
        let except = if regex.is_some() {
            named.iter().map(|name| (*name).to_owned()).collect()
        } else {
            Vec::new()
        };
        Pattern {
            text: key.to_owned(),
            regex: regex.cloned(),
            except,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text && self.except == other.except
    }
}

impl Value for Pattern {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node) else {
            return reader.expected(node, "a path or ~ and a regular expression");
        };
        let regex = match text.strip_prefix('~').map(Regex::new) {
            None => None,
            Some(Ok(regex)) => Some(regex),
            Some(Err(error)) => {
                reader.refuse(&node.origin, format!("{}: {}", describe(node), regex_error(&error)));
                return None;
            }
        };
        Some(Pattern {
            text: text.to_owned(),
            regex,
            except: Vec::new(),
        })
    }

    fn json(&self) -> Json {
        Json::from(self.text.as_str())
    }
}

/// What is wrong with a regular expression, in one line: its own report draws carets over several.
pub(crate) fn regex_error(error: &regex::Error) -> String {
    let report = error.to_string();
    let last = report.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("not a regular expression: {last}")
}

settings! {
    /// One thing that a user may do.
    pub struct Permission {
        /// What.
        "action" => action: Action = Action::Read,
        /// Where.
        "path" => path: Pattern = Pattern::default(),
    }
}

settings! {
    /// Somebody who may do something.
    pub struct User {
        /// Name; `any` stands for everybody.
        "user" => user: Credential = Credential::empty(),
        /// Password; empty when none is asked for.
        "pass" => pass: Password = Password(Credential::empty()),
        /// From where; empty for everywhere.
        "ips" => ips: Vec<IpNet> = Vec::new(),
        /// What.
        "permissions" => permissions: Vec<Permission> = Vec::new(),
    }
}

impl User {
    /// Whether the user stands for everybody.
    pub fn is_anybody(&self) -> bool {
        self.user.plain() == Some(ANYBODY)
    }

    fn anybody(ips: &[&str], actions: &[Action]) -> User {
        let permission = |action: &Action| Permission {
            action: *action,
            ..Permission::default()
        };
        User {
            user: Credential::from(ANYBODY),
            ips: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            permissions: actions.iter().map(permission).collect(),
            ..User::default()
        }
    }
}

/// Who may do what when the file says nothing: everybody streams, this machine administers.
pub(crate) fn default_users() -> Vec<User> {
    vec![
        User::anybody(&[], &[Action::Publish, Action::Read, Action::Playback]),
        User::anybody(
            &["127.0.0.1/32", "::1/128"],
            &[Action::Api, Action::Metrics, Action::Pprof],
        ),
    ]
}
