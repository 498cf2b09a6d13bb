//! Whose file it is when the places or the templates of several entries overlap.
//!
//! With recordings of all paths in `./recordings/%path/…` and those of one in `./recordings/kept/%path/…`, a file of the
//! latter can be read as one of the path `kept/…`. It belongs to the entry that has a path of the shorter name for it, since
//! more of that entry's `recordPath` is fixed; nobody else lists or deletes it.

use std::{path, sync::Arc};

use wasmtx_hub::PathName;

use super::rules::{Rule, Rules};
use crate::storage::Place;

/// Entries whose files may look like those of another one.
#[derive(Debug)]
pub(super) struct Rivals {
    rules: Arc<Rules>,
    entries: Vec<Rival>,
}

#[derive(Debug)]
struct Rival {
    rule: Arc<Rule>,
    there: Way,
}

/// How to get from the names of one place to those of the other.
#[derive(Debug)]
enum Way {
    /// Names there lack this beginning.
    Without(String),
    /// Names there begin with this, too.
    With(String),
}

impl Rivals {
    /// Those of an entry.
    pub(super) fn new(rules: Arc<Rules>, rule: &Rule) -> Rivals {
        let entries = rules.distinct().into_iter().filter(|other| !other.same_files(rule));
        let entries = entries.filter_map(|other| {
            let there = way(&rule.place, &other.place)?;
            Some(Rival { rule: other, there })
        });
        Rivals {
            entries: entries.collect(),
            rules,
        }
    }

    /// Whether a file, read as one of a path, is not rather another entry's.
    pub(super) fn leave(&self, file: &str, path: &str) -> bool {
        !self.entries.iter().any(|rival| {
            let there = match &rival.there {
                Way::Without(beginning) => match file.strip_prefix(&**beginning) {
                    Some(rest) => rest.to_owned(),
                    None => return false,
                },
                Way::With(beginning) => format!("{beginning}{file}"),
            };
            let Some((other, ..)) = rival.rule.read(&there, None) else {
                return false;
            };
            let own = PathName::new(other).ok().and_then(|other| self.rules.of(&other));
            other.len() < path.len() && own.is_some_and(|own| own.same_files(&rival.rule))
        })
    }
}

fn way(from: &Place, to: &Place) -> Option<Way> {
    match (from, to) {
        (Place::Directory(from), Place::Directory(to)) => {
            let (from, to) = (path::absolute(from).ok()?, path::absolute(to).ok()?);
            let text = |path: &path::Path| path.to_str().map(str::to_owned);
            match (to.strip_prefix(&from), from.strip_prefix(&to)) {
                (Ok(deeper), _) => Some(Way::Without(folder(text(deeper)?))),
                (_, Ok(deeper)) => Some(Way::With(folder(text(deeper)?))),
                _ => None,
            }
        }
        (Place::Objects(from), Place::Objects(to)) => {
            let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
            match (to.strip_prefix(from), from.strip_prefix(to)) {
                (Some(deeper), _) if deeper.is_empty() || deeper.starts_with('/') => {
                    Some(Way::Without(folder(deeper.trim_start_matches('/').to_owned())))
                }
                (_, Some(deeper)) if deeper.starts_with('/') => {
                    Some(Way::With(folder(deeper.trim_start_matches('/').to_owned())))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn folder(mut name: String) -> String {
    if !name.is_empty() {
        name.push('/');
    }
    name
}
