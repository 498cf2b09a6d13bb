//! Which paths have recordings at all: folders are looked through once, and again when they changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use wasmtx_hub::PathName;

use super::{UNSTAMPED, index::below, rivals::Rivals, rules::Rule};
use crate::storage::{self, Directory, Kind, Place, Stamp};

/// Folders of one place. Beyond them nothing is looked through.
const MAX_FOLDERS: usize = 100_000;
/// Names of one more directory level than paths and templates have can hold no recording.
const MAX_DEPTH: usize = 16;

/// The folders of all places.
#[derive(Debug, Default)]
pub(super) struct Catalog(Vec<(Arc<Rule>, Folders)>);

/// What a folder led to.
#[derive(Debug)]
pub(super) struct Folder {
    stamp: Option<Stamp>,
    looked: Instant,
    /// We made a file in it since, which the stamp does not tell yet.
    touched: bool,
    /// Of the files in it.
    paths: BTreeSet<PathName>,
    inner: Vec<String>,
}

/// The folders of one place, by name.
pub(super) type Folders = BTreeMap<String, Folder>;

impl Catalog {
    /// What is known of an entry's place.
    pub(super) fn take(&mut self, rule: &Arc<Rule>) -> Folders {
        std::mem::take(self.folders(rule))
    }

    /// What was found in it. Of two that looked at once, either is right.
    pub(super) fn put(&mut self, rule: &Arc<Rule>, folders: Folders) {
        *self.folders(rule) = folders;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets places that no entry records to any more.
    pub(super) fn keep(&mut self, rules: &[Arc<Rule>]) {
        self.0
            .retain(|(known, _)| rules.iter().any(|rule| rule.same_files(known)));
    }

    /// A file of a path was begun.
    pub(super) fn add(&mut self, rule: &Arc<Rule>, path: &PathName, file: &str) {
        let (name, _) = file.rsplit_once('/').unwrap_or_default();
        let folders = self.folders(rule);
        if let Some(folder) = folders.get_mut(name) {
            folder.paths.insert(path.clone());
            folder.touched = true;
            return;
        }
        // A new folder: the one that it is in is looked through again. In an object store nothing else would tell.
        let mut outer = name;
        while !outer.is_empty() {
            outer = outer.rsplit_once('/').unwrap_or_default().0;
            if folders.remove(outer).is_some() {
                return;
            }
        }
    }

    fn folders(&mut self, rule: &Arc<Rule>) -> &mut Folders {
        let at = self.0.iter().position(|(other, _)| other.same_files(rule));
        let at = at.unwrap_or_else(|| {
            self.0.push((rule.clone(), BTreeMap::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Folder {
    /// The paths of the files in it.
    pub(super) fn paths(&self) -> &BTreeSet<PathName> {
        &self.paths
    }

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

/// Looks through the place of an entry: what is known of folders that did not change, and all others. What was found
/// before an error is not lost by it.
pub(super) fn walk(
    mut known: Folders,
    rule: &Rule,
    rivals: &Rivals,
    directory: &Directory,
) -> (Folders, Result<(), storage::Error>) {
    let unstamped = matches!(rule.place, Place::Objects(_));
    let mut looked = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(name) = waiting.pop() {
        if looked.len() + waiting.len() >= MAX_FOLDERS {
            break;
        }
        let found = directory.stamp(&name).and_then(|stamp| match known.remove(&name) {
            Some(folder) if folder.holds(stamp, unstamped) => Ok(folder.adopted(stamp)),
            _ => look(rule, rivals, directory, &name, stamp),
        });
        let folder = match found {
            Ok(folder) => folder,
            Err(storage::Error::NotFound | storage::Error::NotGranted) => continue,
            // What may not be looked into (`lost+found`) holds no recording of ours.
            Err(error) if !name.is_empty() => {
                tracing::debug!(folder = name, "it cannot be looked into: {error}");
                continue;
            }
            Err(error) => return (known, Err(error)),
        };
        if name.split('/').count() < MAX_DEPTH {
            waiting.extend(folder.inner.iter().cloned());
        }
        looked.insert(name, folder);
    }
    (looked, Ok(()))
}

fn look(
    rule: &Rule,
    rivals: &Rivals,
    directory: &Directory,
    name: &str,
    stamp: Option<Stamp>,
) -> Result<Folder, storage::Error> {
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
                let path = rule.read(&whole, None).map(|(path, ..)| path);
                let path = path.filter(|path| rivals.leave(&whole, path));
                folder.paths.extend(path.and_then(|path| PathName::new(path).ok()));
            }
        }
    }
    Ok(folder)
}
