//! What a plugin is granted. Everything is checked here, where its line in the file is known.

use super::{
    node::{Content, Node},
    schema::{Reader, Shape, Value, choices, settings},
    units::Size,
    value::text,
};
use serde_json::Value as Json;
use wasmtx_endpoints::{outbound::Allow, storage::Place};

choices! {
    /// A plugin's own small key-value store.
    pub enum KeyValues {
        /// None.
        No = "no" | "false",
        /// Gone when the server stops.
        Yes = "yes" | "true",
        /// Kept below the state directory.
        Persist = "persist",
    }
}

choices! {
    /// Asking for keyframes and ending sessions.
    pub enum Control {
        /// Nowhere.
        No = "no" | "false",
        /// On the paths that use the plugin.
        Yes = "yes" | "true",
        /// On every path.
        All = "all",
    }
}

settings! {
    /// The place that a plugin may keep files below.
    pub struct Storage {
        /// Where: a directory, a relative one is relative to the working directory; or `s3://bucket/prefix`. Empty:
        /// nowhere.
        "directory" => directory: Folder = Folder::default(),
        /// Bytes of all files there; of an object store, of those that wait to be uploaded.
        "quota" => quota: Size = Size::mebi(1_024),
    }
}

/// A directory or a prefix of an object store, as [`Place`] reads it.
#[derive(Clone, Default, PartialEq)]
pub struct Folder(pub String);

impl Folder {
    /// Nothing is granted.
    pub fn is_nowhere(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value for Folder {
    fn shape() -> Shape {
        String::shape()
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let folder = String::read(node, reader)?;
        match Place::parse(&folder) {
            Ok(_) => Some(Folder(folder)),
            Err(error) => {
                reader.refuse(&node.origin, error);
                None
            }
        }
    }

    fn json(&self) -> Json {
        self.0.json()
    }
}

/// [`Storage`] as it is written: a directory, or a map.
#[derive(Clone, Default, PartialEq)]
pub struct Files(pub Storage);

impl Value for Files {
    fn shape() -> Shape {
        Storage::shape()
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let storage = match &node.content {
            Content::Scalar(..) => Storage {
                directory: Folder::read(node, reader)?,
                ..Storage::default()
            },
            _ => Storage::read(node, reader)?,
        };
        if storage.quota != Storage::default().quota && storage.directory.is_nowhere() {
            return reader.expected(
                node,
                "a directory, s3://bucket/prefix, or a map with `directory` and `quota`",
            );
        }
        Some(Files(storage))
    }

    fn json(&self) -> Json {
        self.0.json()
    }
}

/// The hosts and URLs that a plugin may call, as [`Allow`] reads them.
#[derive(Clone, Default, PartialEq)]
pub struct Hosts(pub Vec<String>);

impl Value for Hosts {
    fn shape() -> Shape {
        Vec::<String>::shape()
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        // One host is the usual case.
        let (list, items) = match (text(node), &node.content) {
            (Some(host), _) => (vec![host.to_owned()], std::slice::from_ref(node)),
            (None, Content::List(items)) => (Vec::read(node, reader)?, items.as_slice()),
            (None, _) => return reader.expected(node, "a list of hosts or URLs"),
        };
        match Allow::parse(&list) {
            Ok(_) => Some(Hosts(list)),
            Err(error) => {
                let origin = items.get(error.index).map_or(&node.origin, |item| &item.origin);
                reader.within(&error.index.to_string(), |reader| {
                    reader.refuse(origin, error.to_string())
                });
                None
            }
        }
    }

    fn json(&self) -> Json {
        self.0.json()
    }
}

settings! {
    /// What a plugin may use beyond what every plugin has.
    pub struct Grant {
        /// Hosts or URL prefixes it may call.
        "http" => http: Hosts = Hosts::default(),
        /// Hosts and addresses of sources it may name, beside those with public addresses.
        "sources" => sources: Hosts = Hosts::default(),
        /// Its own small key-value store.
        "kv" => kv: KeyValues = KeyValues::No,
        /// The directory or the prefix of an object store that it may keep files below.
        "storage" => storage: Files = Files::default(),
        /// Asking for keyframes and kicking sessions.
        "control" => control: Control = Control::No,
        /// Passwords and tokens of who asks; without it they are redacted before the plugin sees them.
        "credentials" => credentials: bool = false,
    }
}

impl Grant {
    /// The keys that grant something.
    pub fn given(&self) -> Vec<&'static str> {
        let given = [
            ("http", !self.http.0.is_empty()),
            ("sources", !self.sources.0.is_empty()),
            ("kv", self.kv != KeyValues::No),
            ("storage", !self.storage.0.directory.is_nowhere()),
            ("control", self.control != Control::No),
            ("credentials", self.credentials),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(key, _)| key)
            .collect()
    }
}
