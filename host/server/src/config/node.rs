//! The configuration as a tree that remembers where each value was written.
//!
//! Files, environment variables and API calls all become such a tree, and the typed schema is read from it. That is why
//! there is one place that checks a value, and why every complaint can name line and column.

use super::error::Origin;
use serde_json::Value as Json;
use std::sync::Arc;

/// How a scalar was spelled, which decides what it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare: may be empty, a number, a boolean or text.
    Plain,
    /// Quoted or a block: text only.
    Quoted,
    /// From the environment: anything but null.
    Raw,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Arc<str>, Style),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    /// Where the key was written.
    pub(crate) origin: Origin,
    /// The deprecated name it was written under, when it was.
    pub(crate) written: Option<Arc<str>>,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn scalar(text: impl Into<Arc<str>>, style: Style, origin: Origin) -> Node {
        Node {
            origin,
            content: Content::Scalar(text.into(), style),
        }
    }

    pub(crate) fn list(items: Vec<Node>, origin: Origin) -> Node {
        Node {
            origin,
            content: Content::List(items),
        }
    }

    pub(crate) fn map(origin: Origin) -> Node {
        Node {
            origin,
            content: Content::Map(Vec::new()),
        }
    }

    /// A value from the API or from a default.
    pub(crate) fn from_json(json: &Json, origin: &Origin) -> Node {
        let content = match json {
            Json::Null => Content::Scalar("".into(), Style::Plain),
            Json::Bool(value) => Content::Scalar(value.to_string().into(), Style::Plain),
            Json::Number(number) => Content::Scalar(number.to_string().into(), Style::Plain),
            Json::String(text) => Content::Scalar(text.as_str().into(), Style::Quoted),
            Json::Array(items) => Content::List(items.iter().map(|item| Node::from_json(item, origin)).collect()),
            Json::Object(fields) => Content::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.as_str().into(),
                        origin: origin.clone(),
                        written: None,
                        value: Node::from_json(value, origin),
                    })
                    .collect(),
            ),
        };
        Node {
            origin: origin.clone(),
            content,
        }
    }

    /// What a plugin's free-form configuration becomes.
    pub(crate) fn to_json(&self) -> Json {
        match &self.content {
            Content::Scalar(text, style) => plain_json(text, *style),
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.to_string(), entry.value.to_json()))
                    .collect(),
            ),
        }
    }

    /// Whether nothing stands here (`key:` with no value), which leaves a setting as it is.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(text, Style::Plain) if is_null(text))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The map here; what is not a map becomes an empty one.
    pub(crate) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        match &mut self.content {
            Content::Map(entries) => entries,
            _ => unreachable!("it was just made a map"),
        }
    }

    /// The value under `key`, made as `fresh` says when there is none.
    pub(crate) fn get_or_insert(&mut self, key: &str, origin: &Origin, fresh: impl FnOnce() -> Node) -> &mut Node {
        let entries = self.entries_mut();
        let at = match entries.iter().position(|entry| &*entry.key == key) {
            Some(at) => at,
            None => {
                entries.push(Entry {
                    key: key.into(),
                    origin: origin.clone(),
                    written: None,
                    value: fresh(),
                });
                entries.len() - 1
            }
        };
        &mut entries[at].value
    }

    /// Puts `value` under `key`, in place of what was there.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        let origin = value.origin.clone();
        *self.get_or_insert(key, &origin, || Node::map(origin.clone())) = value;
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let entries = self.entries_mut();
        entries
            .iter()
            .position(|entry| &*entry.key == key)
            .map(|at| entries.remove(at))
    }

    /// Where the key that `trail` leads to was written, or the nearest key above it that was written at all.
    pub(crate) fn locate(&self, trail: &[&str]) -> Origin {
        let (mut node, mut origin) = (self, Origin::Default);
        for step in trail {
            let next = match &node.content {
                Content::Map(_) => node.entry(step).map(|entry| (&entry.value, &entry.origin)),
                Content::List(items) => step
                    .parse()
                    .ok()
                    .and_then(|i: usize| items.get(i))
                    .map(|item| (item, &item.origin)),
                Content::Scalar(..) => None,
            };
            let Some((value, at)) = next else { break };
            (node, origin) = (value, at.clone());
        }
        origin
    }
}

pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The booleans of YAML 1.1, which MediaMTX's own files use.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn plain_json(text: &str, style: Style) -> Json {
    if style == Style::Quoted {
        return Json::from(text);
    }
    if style == Style::Plain && is_null(text) {
        return Json::Null;
    }
    if let Some(value) = boolean(text) {
        return Json::from(value);
    }
    // A leading zero is a code or a phone number, not a quantity: it stays text.
    let digits = text.trim_start_matches(['-', '+']);
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let number = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    if !padded && number(text) {
        if let Ok(value) = text.parse::<i64>() {
            return Json::from(value);
        }
        if let Ok(value) = text.parse::<u64>() {
            return Json::from(value);
        }
        if let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) {
            return Json::from(value);
        }
    }
    Json::from(text)
}
