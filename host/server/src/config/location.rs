//! Where a plugin's component comes from, and whose signature it needs.

use super::{
    node::Node,
    schema::{Reader, Value},
    value::text,
};
use serde_json::Value as Json;
use std::path::PathBuf;
use wasmtx_endpoints::fetch::{Origin, PublicKey};

/// Forces the plugin that the server brings along, even when the registry has one of the same name.
pub(super) const BUILTIN: &str = "builtin:";

/// Where a plugin's component comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The bundled plugin of the same name as the entry.
    #[default]
    Bundled,
    /// The bundled plugin of this name (`builtin:name`).
    Builtin(String),
    /// A component file; a relative one is relative to the working directory.
    File(PathBuf),
    /// Somewhere else (`https://…`, `oci://…`).
    Remote(Origin),
}

impl Value for Location {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node).filter(|text| !text.contains('\0')) else {
            return reader.expected(node, "a file name, builtin:name, https://… or oci://…");
        };
        if text.is_empty() {
            return Some(Location::Bundled);
        }
        if let Some(name) = text.strip_prefix(BUILTIN) {
            return Some(Location::Builtin(name.to_owned()));
        }
        if !Origin::is_meant(text) {
            return Some(Location::File(PathBuf::from(text)));
        }
        match text.parse() {
            Ok(origin) => Some(Location::Remote(origin)),
            Err(error) => {
                reader.refuse(&node.origin, error.to_string());
                // Something was meant, so nobody goes on about a bundled plugin.
                Some(Location::File(PathBuf::from(text)))
            }
        }
    }

    fn json(&self) -> Json {
        match self {
            Location::Bundled => Json::from(""),
            Location::Builtin(name) => Json::from(format!("{BUILTIN}{name}")),
            Location::File(file) => file.json(),
            Location::Remote(origin) => Json::from(origin.to_string()),
        }
    }
}

/// The key that has to have signed a component, if one has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signer(pub Option<PublicKey>);

impl Value for Signer {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node).map(str::parse) {
            _ if text(node) == Some("") => Some(Signer(None)),
            Some(Ok(key)) => Some(Signer(Some(key))),
            _ => reader.expected(node, "an ed25519 public key: 32 bytes in base64 or hexadecimal"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.0.map(|key| key.to_string()).unwrap_or_default())
    }
}
