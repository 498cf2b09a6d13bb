//! Environment variables over the file: `MTX_` and the key in upper case, `_` between levels, list items by number or
//! all at once with commas. They change the tree, so the schema checks them like the file, and names the variable.

use super::{
    deprecated,
    error::Origin,
    global::Global,
    node::{Content, Node, Style},
    path::PathConf,
    schema::{Field, Settings, Shape, Value},
    suggest::nearest,
    yaml::parse,
};
use std::sync::Arc;

const PREFIX: &str = "MTX_";
const LEGACY_PREFIX: &str = "RTSP_";
/// The key of an encrypted file.
const ENCRYPTION_KEYS: [&str; 2] = ["MTX_CONFKEY", "RTSP_CONFKEY"];
/// Longest list that numbered variables can make.
const MAX_ITEMS: usize = 1_000;

/// Variables that the server sets for commands, or reads itself: a server that runs inside a command sees them.
const NOT_SETTINGS: &[&str] = &[
    "PATH",
    "QUERY",
    "CONN_TYPE",
    "CONN_ID",
    "SOURCE_TYPE",
    "SOURCE_ID",
    "READER_TYPE",
    "READER_ID",
    "SEGMENT_PATH",
    "SEGMENT_DURATION",
    "CONFKEY",
];

/// Whether the file is meant to be encrypted.
pub(crate) fn encrypted(variables: &[(String, String)]) -> bool {
    variables
        .iter()
        .any(|(name, value)| ENCRYPTION_KEYS.contains(&name.as_str()) && !value.is_empty())
}

/// Lays the variables over the tree; returns a sentence for each that names no setting.
pub(crate) fn overlay(root: &mut Node, variables: &[(String, String)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut named: Vec<(&str, &str, &str)> = Vec::new();
    // The legacy prefix comes first, so that the present one wins.
    for prefix in [LEGACY_PREFIX, PREFIX] {
        let mut matching: Vec<_> = variables
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), name.strip_prefix(prefix)?, value.as_str())))
            .collect();
        matching.sort_by_cached_key(|(_, rest, _)| natural(rest));
        named.extend(matching);
    }
    for (name, rest, value) in named {
        let origin = Origin::Environment(name.into());
        let steps: Vec<&str> = rest.split('_').collect();
        if set_root(root, &steps, value, &origin).is_none() && name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&rest)
        {
            warnings.push(unknown(name, steps.first().unwrap_or(&"")));
        }
    }
    warnings
}

/// Numbers sort as numbers, so that item 10 comes after item 9.
fn natural(name: &str) -> Vec<(u64, String)> {
    name.split('_')
        .map(|step| (step.parse().unwrap_or(u64::MAX), step.to_owned()))
        .collect()
}

fn unknown(name: &str, first: &str) -> String {
    let keys = Global::fields()
        .iter()
        .map(|field| field.key)
        .chain(["pathDefaults", "paths"]);
    match nearest(first, keys) {
        Some(key) if !key.eq_ignore_ascii_case(first) => {
            format!(
                "the environment variable {name} sets nothing, did you mean {PREFIX}{}?",
                key.to_uppercase()
            )
        }
        _ => format!("the environment variable {name} sets nothing: no setting has that name"),
    }
}

/// Sets the value that the steps lead to; none when they lead nowhere.
fn set_root(root: &mut Node, steps: &[&str], value: &str, origin: &Origin) -> Option<()> {
    let (first, rest) = steps.split_first()?;
    if first.eq_ignore_ascii_case("pathDefaults") {
        let defaults = root.get_or_insert("pathDefaults", origin, || Node::map(origin.clone()));
        return set_path_key(defaults, rest, value, origin);
    }
    if first.eq_ignore_ascii_case("paths") {
        let paths = root.get_or_insert("paths", origin, || Node::map(origin.clone()));
        let (name, rest) = map_key(paths, rest)?;
        let fresh = paths.entry(&name).is_none();
        let path = paths.get_or_insert(&name, origin, || Node::map(origin.clone()));
        let done = set_path_key(path, rest, value, origin);
        if done.is_none() && fresh {
            paths.remove(&name);
        }
        return done;
    }
    if let Some(field) = field(Global::fields(), first) {
        // Items of a list that only the defaults hold are changed where they are.
        let numbered = rest.first().is_some_and(|step| step.parse::<usize>().is_ok());
        if numbered && root.get(field.key).is_none_or(Node::is_null) {
            let default = Global::default().to_json().remove(field.key).unwrap_or_default();
            root.set(field.key, Node::from_json(&default, origin));
        }
        return set_in(root, field, rest, value, origin);
    }
    let old = deprecated::global_keys().find(|key| key.eq_ignore_ascii_case(first))?;
    set_deprecated(root, old, rest, value, origin)
}

fn set_path_key(path: &mut Node, steps: &[&str], value: &str, origin: &Origin) -> Option<()> {
    let (first, rest) = steps.split_first()?;
    if let Some(field) = field(PathConf::fields(), first) {
        return set_in(path, field, rest, value, origin);
    }
    let old = deprecated::path_keys().find(|key| key.eq_ignore_ascii_case(first))?;
    set_deprecated(path, old, rest, value, origin)
}

/// Old keys hold text or, in a few cases, lists of text: a comma tells.
fn set_deprecated(map: &mut Node, key: &str, rest: &[&str], value: &str, origin: &Origin) -> Option<()> {
    let list = [
        "protocols",
        "authMethods",
        "webrtcICEServers",
        "webrtcICEHostNAT1To1IPs",
        "publishIPs",
        "readIPs",
    ];
    let shape = if list.contains(&key) {
        Shape::List(String::shape)
    } else {
        Shape::Scalar
    };
    if !rest.is_empty() {
        return None;
    }
    map.set(key, leaf(&shape, value, origin));
    Some(())
}

fn field(fields: &'static [Field], step: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.key.eq_ignore_ascii_case(step))
}

fn set_in(map: &mut Node, field: &Field, rest: &[&str], value: &str, origin: &Origin) -> Option<()> {
    let shape = (field.shape)();
    let mut changed = map.get(field.key).cloned().unwrap_or_else(|| empty(&shape, origin));
    set(&mut changed, &shape, rest, value, origin)?;
    map.set(field.key, changed);
    Some(())
}

fn set(node: &mut Node, shape: &Shape, steps: &[&str], value: &str, origin: &Origin) -> Option<()> {
    let Some((first, rest)) = steps.split_first() else {
        *node = leaf(shape, value, origin);
        return Some(());
    };
    match shape {
        Shape::Scalar | Shape::Json => None,
        Shape::Struct(fields) => set_in(node, field(fields(), first)?, rest, value, origin),
        Shape::Map(item) => {
            let (key, rest) = map_key(node, steps)?;
            let item = item();
            let mut changed = node.get(&key).cloned().unwrap_or_else(|| empty(&item, origin));
            set(&mut changed, &item, rest, value, origin)?;
            node.set(&key, changed);
            Some(())
        }
        Shape::List(item) => {
            let at: usize = first.parse().ok()?;
            if !matches!(node.content, Content::List(_)) {
                node.content = Content::List(Vec::new());
            }
            let Content::List(items) = &mut node.content else {
                return None;
            };
            let item = item();
            if at > items.len() || at >= MAX_ITEMS {
                return None;
            }
            let mut changed = items.get(at).cloned().unwrap_or_else(|| empty(&item, origin));
            set(&mut changed, &item, rest, value, origin)?;
            if at == items.len() {
                items.push(changed);
            } else {
                items[at] = changed;
            }
            Some(())
        }
    }
}

fn empty(shape: &Shape, origin: &Origin) -> Node {
    match shape {
        Shape::List(_) => Node::list(Vec::new(), origin.clone()),
        Shape::Map(_) | Shape::Struct(_) => Node::map(origin.clone()),
        Shape::Scalar | Shape::Json => Node::scalar("", Style::Plain, origin.clone()),
    }
}

fn leaf(shape: &Shape, value: &str, origin: &Origin) -> Node {
    let text = |text: &str| Node::scalar(Arc::from(text), Style::Raw, origin.clone());
    match shape {
        Shape::List(_) if value.trim().is_empty() => Node::list(Vec::new(), origin.clone()),
        Shape::List(_) => Node::list(value.split(',').map(|item| text(item.trim())).collect(), origin.clone()),
        // A plugin's configuration is YAML here too, which JSON is a part of.
        Shape::Json => parse(value).map_or_else(
            |_| text(value),
            |mut node| {
                relocate(&mut node, origin);
                node
            },
        ),
        Shape::Scalar | Shape::Map(_) | Shape::Struct(_) => text(value),
    }
}

/// Positions inside a variable would be taken for positions in the file.
fn relocate(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.content {
        Content::Scalar(..) => {}
        Content::List(items) => items.iter_mut().for_each(|item| relocate(item, origin)),
        Content::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.origin = origin.clone();
            relocate(&mut entry.value, origin);
        }),
    }
}

/// The key of a map that the next steps name: one that is there already, whatever its capitals and signs, or a new one
/// in lower case.
fn map_key<'a>(map: &Node, steps: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
    let spelled = |key: &str| -> String {
        key.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect()
    };
    let there = map.entries().iter().filter_map(|entry| {
        let length = spelled(&entry.key).split('_').count();
        let same = steps
            .get(..length)?
            .join("_")
            .eq_ignore_ascii_case(&spelled(&entry.key));
        same.then(|| (length, entry.key.to_string()))
    });
    if let Some((length, key)) = there.max() {
        return Some((key, &steps[length..]));
    }
    let (first, rest) = steps.split_first()?;
    (!first.is_empty()).then(|| (first.to_lowercase(), rest))
}
