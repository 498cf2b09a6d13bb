//! Changes through the API: they are made in the tree, and the whole is read and checked anew. Whoever sends a masked
//! secret back leaves it as it is.

use super::{
    Config, PathEntry, assemble,
    error::{Origin, Problems},
    node::{Content, Node},
    secret::REDACTED,
};
use crate::redact;
use serde_json::Value as Json;

/// A change of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Some global settings.
    Global,
    /// Some settings of pathDefaults.
    PathDefaults,
    /// A new entry of `paths`.
    AddPath(&'a str),
    /// Some settings of an entry.
    PatchPath(&'a str),
    /// All settings of an entry, which need not exist.
    ReplacePath(&'a str),
    /// No entry any more.
    DeletePath(&'a str),
}

impl Config {
    /// The configuration with a change; this one stays as it is.
    ///
    /// # Errors
    /// What is wrong with the change: unknown keys, wrong values, rules between keys, a path that is (not) there.
    pub fn edit(&self, edit: Edit<'_>, body: &Json) -> Result<Config, Problems> {
        let origin = Origin::Request;
        if !matches!(edit, Edit::DeletePath(_)) && !body.is_object() {
            return Err(Problems::whole("the body must be a JSON object"));
        }
        if !self.global.allow_commands_from_api
            && let Some(key) = command(body, &self.present(edit))
        {
            let message = "commands are not set through the API unless allowCommandsFromApi is set in the file";
            let mut problems = Problems::default();
            problems.refuse(&origin, key, message);
            return Err(problems);
        }
        let mut tree = self.tree.clone();
        match edit {
            Edit::Global => {
                if let Some(key) = super::SECTIONS.iter().find(|key| body.get(key).is_some()) {
                    return Err(Problems::whole(format!("`{key}` is not a global setting")));
                }
                merge(&mut tree, body, &origin);
            }
            Edit::PathDefaults => {
                let defaults = tree.get_or_insert("pathDefaults", &origin, || Node::map(origin.clone()));
                merge(defaults, body, &origin);
            }
            Edit::AddPath(name) | Edit::PatchPath(name) | Edit::ReplacePath(name) | Edit::DeletePath(name) => {
                let paths = tree.get_or_insert("paths", &origin, || Node::map(origin.clone()));
                let there = paths.entry(name).is_some();
                match edit {
                    Edit::AddPath(_) if there => return Err(Problems::whole("path already exists")),
                    Edit::PatchPath(_) | Edit::DeletePath(_) if !there => {
                        return Err(Problems::whole("path not found"));
                    }
                    Edit::DeletePath(_) => {
                        paths.remove(name);
                    }
                    Edit::ReplacePath(_) => {
                        let old = paths.remove(name).map(|entry| entry.value);
                        let mut new = Node::from_json(body, &origin);
                        restore(&mut new, old.as_ref());
                        paths.set(name, new);
                    }
                    _ => merge(
                        paths.get_or_insert(name, &origin, || Node::map(origin.clone())),
                        body,
                        &origin,
                    ),
                }
            }
        }
        Ok(Config {
            file: self.file.clone(),
            lock: self.lock.clone(),
            ..assemble(tree, Vec::new())?
        })
    }

    /// What an edit starts from, as the API shows it.
    fn present(&self, edit: Edit<'_>) -> Json {
        match edit {
            Edit::Global => self.global_json(),
            Edit::PathDefaults => self.path_defaults_json(),
            Edit::AddPath(name) | Edit::PatchPath(name) | Edit::ReplacePath(name) | Edit::DeletePath(name) => self
                .paths
                .get(name)
                .map_or_else(|| self.path_defaults_json(), PathEntry::json),
        }
    }
}

/// A key of the body that sets a command to something else than it is at present.
fn command(body: &Json, present: &Json) -> Option<String> {
    let mut fields = body.as_object()?.iter();
    fields
        .find(|(key, value)| key.starts_with("runOn") && present.get(key) != Some(value))
        .map(|(key, _)| key.clone())
}

fn merge(node: &mut Node, body: &Json, origin: &Origin) {
    for (key, value) in body.as_object().into_iter().flatten() {
        let mut new = Node::from_json(value, origin);
        restore(&mut new, node.get(key));
        node.set(key, new);
    }
}

/// Puts secrets that came back masked in place again: at the same key, and in lists at the same user or the same place.
fn restore(new: &mut Node, old: Option<&Node>) {
    match &mut new.content {
        Content::Scalar(text, _) if text.contains(REDACTED) => {
            if let Some(old) = old.filter(|old| is_masked(text, old)) {
                *new = old.clone();
            }
        }
        Content::Scalar(..) => {}
        Content::Map(entries) => {
            for entry in entries {
                restore(&mut entry.value, old.and_then(|old| old.get(&entry.key)));
            }
        }
        Content::List(items) => {
            let before = old.map(Node::items).unwrap_or_default();
            for (i, item) in items.iter_mut().enumerate() {
                let user = name(item);
                let is_same = |old: &&Node| match &user {
                    Some(_) => name(old) == user || shows(item, old),
                    None => false,
                };
                // Two that are shown alike are told apart by their places.
                let here = before.get(i).filter(|old| user.is_none() || is_same(old));
                let same = here.or_else(|| before.iter().find(is_same));
                restore(item, same);
            }
        }
    }
}

/// Whether this is what was shown in place of the old text: nothing of it, or a URL without its secrets.
fn is_masked(shown: &str, old: &Node) -> bool {
    match &old.content {
        Content::Scalar(text, _) => [REDACTED, &redact::url(text), &redact::destination(text)].contains(&shown),
        Content::Map(_) | Content::List(_) => shown == REDACTED,
    }
}

/// Whether an item of a list is known by what was shown in place of the old one's URL.
fn shows(item: &Node, old: &Node) -> bool {
    match (name(item), old.get("dest")) {
        (Some(shown), Some(dest)) => is_masked(&shown, dest),
        _ => false,
    }
}

/// What an item of a list is known by.
fn name(item: &Node) -> Option<String> {
    ["user", "use", "url", "dest"]
        .iter()
        .find_map(|key| match &item.get(key)?.content {
            Content::Scalar(text, _) => Some(text.to_string()),
            _ => None,
        })
}
