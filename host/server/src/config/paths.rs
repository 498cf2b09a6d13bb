//! The entries of `paths`, in the order in which a path name is looked up: names first, then regular expressions in
//! alphabetical order of their keys, the entry for all others last.

use super::{
    error::Origin,
    node::{Content, Node},
    path::PathConf,
    schema::{Reader, Settings, apply_map, printable},
    user::regex_error,
};
use regex::Regex;
use serde_json::Value as Json;
use std::{collections::HashMap, sync::Arc};
use wasmtx_hub::PathName;

/// Keys that all stand for "any other path".
const ALL_OTHERS: &[&str] = &["all_others", "all", "~^.*$"];
/// Groups of a regular expression that `$G1`… can name.
const MAX_GROUPS: usize = 32;

/// Which paths an entry is for.
#[derive(Clone)]
pub enum Matcher {
    /// The one of this name.
    Exact(PathName),
    /// Those that match; groups become `$G1`, `$G2`….
    Regex(Regex),
    /// Those that no other entry is for.
    AllOthers,
}

/// One entry of `paths`.
#[derive(Clone)]
#[non_exhaustive]
pub struct PathEntry {
    /// Its key, the `confName` of the API.
    pub name: String,
    /// Which paths it is for.
    pub matcher: Matcher,
    /// Their settings, what pathDefaults says included.
    pub conf: Arc<PathConf>,
}

impl PathEntry {
    /// The entry as the API shows it.
    pub fn json(&self) -> Json {
        let mut map = self.conf.to_json();
        map.insert("name".into(), Json::from(self.name.as_str()));
        Json::Object(map)
    }
}

/// All entries of `paths`.
#[derive(Clone, Default)]
pub struct Paths {
    entries: Vec<PathEntry>,
    exact: HashMap<String, usize>,
}

impl Paths {
    /// The entries, in lookup order.
    pub fn entries(&self) -> &[PathEntry] {
        &self.entries
    }

    /// The entry with this key.
    pub fn get(&self, key: &str) -> Option<&PathEntry> {
        match self.exact.get(key) {
            Some(at) => self.entries.get(*at),
            None => self.entries.iter().find(|entry| entry.name == key),
        }
    }

    /// The entry for a path, and what the groups of its regular expression hold.
    pub fn find(&self, path: &str) -> Option<(&PathEntry, Vec<String>)> {
        if let Some(entry) = self.exact.get(path).and_then(|at| self.entries.get(*at)) {
            return Some((entry, Vec::new()));
        }
        self.entries
            .iter()
            .skip(self.exact.len())
            .find_map(|entry| match &entry.matcher {
                Matcher::Exact(_) => None,
                Matcher::AllOthers => Some((entry, Vec::new())),
                Matcher::Regex(regex) => {
                    let captures = regex.captures(path)?;
                    let group =
                        |group: Option<regex::Match<'_>>| group.map_or(String::new(), |text| text.as_str().into());
                    Some((entry, captures.iter().skip(1).map(group).collect()))
                }
            })
    }

    /// Reads the entries over what pathDefaults says.
    pub(crate) fn read(node: Option<&Node>, defaults: &PathConf, reader: &mut Reader) -> Paths {
        let Some(node) = node.filter(|node| !node.is_null()) else {
            return Paths::default();
        };
        let Content::Map(written) = &node.content else {
            reader.expected::<()>(node, "path names with their settings");
            return Paths::default();
        };
        let mut others: Option<&str> = None;
        let mut entries = Vec::with_capacity(written.len());
        for entry in written {
            let matcher = reader.within(&printable(&entry.key), |reader| {
                match_key(&entry.key, &entry.origin, reader)
            });
            if matches!(matcher, Some(Matcher::AllOthers)) {
                if let Some(first) = others {
                    let message = format!("`{first}` stands for the same paths: one of them is enough");
                    reader.within(&entry.key, |reader| reader.refuse(&entry.origin, message));
                }
                others = Some(&entry.key);
            }
            let mut conf = defaults.clone();
            reader.within(&printable(&entry.key), |reader| {
                apply_map(&mut conf, &entry.value, reader)
            });
            if let Some(matcher) = matcher {
                entries.push(PathEntry {
                    name: entry.key.to_string(),
                    matcher,
                    conf: Arc::new(conf),
                });
            }
        }
        entries.sort_by(|a, b| (rank(&a.matcher), &a.name).cmp(&(rank(&b.matcher), &b.name)));
        let named = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| matches!(entry.matcher, Matcher::Exact(_)));
        let exact = named.map(|(at, entry)| (entry.name.clone(), at)).collect();
        Paths { entries, exact }
    }
}

fn rank(matcher: &Matcher) -> u8 {
    match matcher {
        Matcher::Exact(_) => 0,
        Matcher::Regex(_) => 1,
        Matcher::AllOthers => 2,
    }
}

fn match_key(key: &str, origin: &Origin, reader: &mut Reader) -> Option<Matcher> {
    if ALL_OTHERS.contains(&key) {
        return Some(Matcher::AllOthers);
    }
    if let Some(regex) = key.strip_prefix('~') {
        return match Regex::new(regex) {
            Ok(regex) if regex.captures_len() <= MAX_GROUPS + 1 => Some(Matcher::Regex(regex)),
            Ok(_) => {
                reader.refuse(origin, format!("more than {MAX_GROUPS} groups"));
                None
            }
            Err(error) => {
                reader.refuse(origin, regex_error(&error));
                None
            }
        };
    }
    match PathName::new(key) {
        Ok(name) => Some(Matcher::Exact(name)),
        Err(error) => {
            reader.refuse(origin, error.to_string());
            None
        }
    }
}
