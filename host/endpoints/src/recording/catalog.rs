//! Which paths have recordings at all: folders are looked through once, and again when they changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtx_hub::PathName;

use super::{index::below, rules::Rule};
use crate::storage::{self, Directory, Kind, Place, Stamp};

/// Folders of one place. Beyond them nothing is looked through.
const MAX_FOLDERS: usize = 100_000;
/// Names of one more directory level than paths and templates have can hold no recording.
const MAX_DEPTH: usize = 16;
/// In an object store no stamp tells that something changed; there an answer holds for so long.
const UNSTAMPED: Duration = Duration::from_secs(60);

/// The folders of all places.
#[derive(Debug, Default)]
pub(super) struct Catalog(Vec<(Arc<Rule>, BTreeMap<String, Folder>)>);

/// What a folder led to.
#[derive(Debug)]
struct Folder {
    stamp: Option<Stamp>,
    looked: Instant,
    /// We made a file in it since, which the stamp does not tell yet.
    touched: bool,
    /// Of the files in it.
    paths: BTreeSet<PathName>,
    inner: Vec<String>,
}

impl Catalog {
    /// The paths that have files of an entry's template in its place.
    pub(super) fn paths(
        &mut self,
        rule: &Arc<Rule>,
        directory: &Directory,
    ) -> Result<BTreeSet<PathName>, storage::Error> {
        let unstamped = matches!(rule.place, Place::Objects(_));
        let known = self.folders(rule);
        let mut looked = BTreeMap::new();
        let mut waiting = vec![String::new()];
        while let Some(name) = waiting.pop() {
            if looked.len() + waiting.len() >= MAX_FOLDERS {
                break;
            }
            let stamp = match directory.stamp(&name) {
                Err(storage::Error::NotFound | storage::Error::NotGranted) => continue,
                // What may not be looked into (`lost+found`) holds no recording of ours.
                Err(error) if !name.is_empty() => {
                    tracing::debug!(folder = name, "it cannot be looked into: {error}");
                    continue;
                }
                stamp => stamp?,
            };
            let folder = match known.remove(&name) {
                Some(folder) if folder.holds(stamp, unstamped) => folder.adopted(stamp),
                _ => match look(rule, directory, &name, stamp) {
                    Err(storage::Error::NotFound | storage::Error::NotGranted) => continue,
                    Err(error) if !name.is_empty() => {
                        tracing::debug!(folder = name, "it cannot be looked into: {error}");
                        continue;
                    }
                    folder => folder?,
                },
            };
            if name.split('/').count() < MAX_DEPTH {
                waiting.extend(folder.inner.iter().cloned());
            }
            looked.insert(name, folder);
        }
        *known = looked;
        Ok(known.values().flat_map(|folder| &folder.paths).cloned().collect())
    }

    /// Forgets places that no entry records to any more.
    pub(super) fn keep(&mut self, rules: &[Arc<Rule>]) {
        self.0
            .retain(|(known, _)| rules.iter().any(|rule| rule.same_files(known)));
    }

    /// A file of a path was begun.
    pub(super) fn add(&mut self, rule: &Arc<Rule>, path: &PathName, file: &str) {
        let (name, _) = file.rsplit_once('/').unwrap_or_default();
        if let Some(folder) = self.folders(rule).get_mut(name) {
            folder.paths.insert(path.clone());
            folder.touched = true;
        }
    }

    fn folders(&mut self, rule: &Arc<Rule>) -> &mut BTreeMap<String, Folder> {
        let at = self.0.iter().position(|(other, _)| other.same_files(rule));
        let at = at.unwrap_or_else(|| {
            self.0.push((rule.clone(), BTreeMap::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Folder {
    fn holds(&self, stamp: Option<Stamp>, unstamped: bool) -> bool {
        match (self.stamp, stamp) {
            // What we did is why it changed.
            _ if self.touched => true,
            (Some(then), Some(now)) => then == now,
            (None, None) if unstamped => self.looked.elapsed() < UNSTAMPED,
            _ => false,
        }
    }

    fn adopted(mut self, stamp: Option<Stamp>) -> Folder {
        if self.touched && stamp.is_some() {
            (self.stamp, self.touched) = (stamp, false);
        }
        self
    }
}

fn look(rule: &Rule, directory: &Directory, name: &str, stamp: Option<Stamp>) -> Result<Folder, storage::Error> {
    let mut folder = Folder {
        stamp,
        looked: Instant::now(),
        touched: false,
        paths: BTreeSet::new(),
        inner: Vec::new(),
    };
    for item in directory.level(name)? {
        let whole = below(name, &item.name);
        match item.kind {
            Kind::Directory => folder.inner.push(whole),
            Kind::File { .. } => {
                let path = rule.read(&whole, None).and_then(|(path, ..)| PathName::new(path).ok());
                folder.paths.extend(path);
            }
        }
    }
    Ok(folder)
}
