//! What recordings a path has: its files in order of their start.
//!
//! The files are the truth. A folder that has not changed since it was looked through (its stamp) is not looked through
//! again, now or after a restart; one that only we changed is, by the next thorough refresh, and serves until then what
//! we know.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use wasmtx_hub::PathName;

use super::{
    UNSTAMPED,
    log::Log,
    probe::{self, Facts},
    record::Record,
    rivals::Rivals,
    rules::Rule,
    segment::{Segment, Told},
};
use crate::storage::{self, Directory, Item, Kind, Place, Stamp};

/// Folders of one path. Beyond them nothing is looked through.
const MAX_FOLDERS: usize = 100_000;

/// A file, with what only its keeper needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) segment: Segment,
    /// When it was last written to: microseconds since 1970.
    pub(super) modified: u64,
    /// When it was done, by the clock that nobody sets ([`super::evidence`]), if we were there.
    pub(super) born: Option<u64>,
    /// Its end is whole: nothing has to be cut off.
    pub(super) finished: bool,
}

impl Entry {
    fn key(&self) -> (u64, &str) {
        (self.segment.start, &self.segment.file)
    }
}

/// The files of one path.
#[derive(Debug)]
pub(super) struct Index {
    path: PathName,
    rule: Arc<Rule>,
    rivals: Rivals,
    directory: Directory,
    /// By start, then by name.
    entries: Vec<Entry>,
    folders: BTreeMap<String, Folder>,
    log: Log,
    /// What was last shown, until something changes.
    shown: Option<Arc<[Segment]>>,
}

/// A folder that was looked through.
#[derive(Clone, Copy, Debug, Default)]
struct Folder {
    stamp: Option<Stamp>,
    looked: Option<Instant>,
    /// We made or removed files in it since, which the stamp does not tell yet.
    touched: bool,
    /// Somebody else may have done so at the same time.
    unsure: bool,
}

impl Index {
    /// The index of a path, with what its log remembers.
    pub(super) fn new(
        path: PathName,
        rule: Arc<Rule>,
        rivals: Rivals,
        directory: Directory,
        log: Log,
        records: Vec<Record>,
    ) -> Index {
        let mut index = Index {
            path,
            rule,
            rivals,
            directory,
            entries: Vec::new(),
            folders: BTreeMap::new(),
            log,
            shown: None,
        };
        index.replay(records);
        index
    }

    fn replay(&mut self, records: Vec<Record>) {
        let mut entries = BTreeMap::new();
        for record in records {
            match record {
                Record::Head(_) => {}
                Record::Put(entry) => {
                    entries.insert((entry.segment.start, entry.segment.file.clone()), entry);
                }
                Record::Gone { start, file } => {
                    entries.remove(&(start, file.into()));
                }
                Record::Folder { name, stamp } => {
                    let folder = Folder {
                        stamp,
                        unsure: true,
                        ..Folder::default()
                    };
                    self.folders.insert(name, folder);
                }
            }
        }
        self.entries = entries.into_values().collect();
        self.entries
            .retain(|entry| self.rivals.leave(&entry.segment.file, self.path.as_str()));
        for entry in self.entries.iter_mut().filter(|entry| !entry.finished) {
            entry.segment.active = self.directory.is_open(&entry.segment.file);
        }
    }

    pub(super) fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether its files are elsewhere.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.rule.place, Place::Objects(_))
    }

    /// Looks where something may have changed; thoroughly: also where only we are known to have changed something.
    pub(super) fn refresh(&mut self, thorough: bool) -> Result<(), storage::Error> {
        let depth = self.rule.template.depth(self.path.as_str());
        let root = self.rule.template.folder(self.path.as_str());
        let root = root.trim_end_matches('/').to_owned();
        let mut waiting: Vec<String> = self.folders.keys().cloned().collect();
        let (mut looked, mut records) = (Vec::new(), Vec::new());
        if !self.folders.contains_key(&root) {
            waiting.push(root.clone());
        }
        while let Some(name) = waiting.pop() {
            let is_root = name == root;
            let stamp = match self.directory.stamp(&name) {
                Err(storage::Error::NotFound | storage::Error::NotGranted) => {
                    if self.folders.remove(&name).is_some() {
                        let name = name.clone();
                        records.push(Record::Folder { name, stamp: None });
                    }
                    looked.push((name, Vec::new()));
                    continue;
                }
                // What may not be looked into (`lost+found`) holds no recording of ours.
                Err(error) if !is_root => {
                    tracing::debug!(folder = name, "it cannot be looked into: {error}");
                    continue;
                }
                stamp => stamp?,
            };
            let known = self.folders.get(&name).copied();
            let unstamped = self.is_away();
            if known.is_some_and(|folder| folder.holds(stamp, thorough, unstamped)) {
                continue;
            }
            if let Some(folder) = self.folders.get_mut(&name)
                && !thorough
                && folder.explains(stamp)
            {
                records.push(Record::Folder { name, stamp });
                continue;
            }
            let items = match self.directory.level(&name) {
                // It went this moment: the next look finds it gone.
                Err(storage::Error::NotFound | storage::Error::NotGranted) => Vec::new(),
                Err(error) if !is_root => {
                    tracing::debug!(folder = name, "it cannot be looked into: {error}");
                    continue;
                }
                items => items?,
            };
            let level = if name.is_empty() { 0 } else { name.split('/').count() };
            if level < depth {
                let inner = items.iter().filter(|item| item.kind == Kind::Directory);
                for item in inner {
                    let inner = below(&name, &item.name);
                    if !self.folders.contains_key(&inner) && self.folders.len() + waiting.len() < MAX_FOLDERS {
                        waiting.push(inner);
                    }
                }
            }
            let folder = Folder {
                stamp,
                looked: Some(Instant::now()),
                touched: false,
                unsure: false,
            };
            self.folders.insert(name.clone(), folder);
            let record = name.clone();
            records.push(Record::Folder { name: record, stamp });
            if level == depth {
                looked.push((name, items));
            }
        }
        if !looked.is_empty() {
            self.merge(&looked);
        }
        // Behind the files, so that a log that was cut off does not promise what it has not.
        self.write(&records);
        self.tidy_log();
        Ok(())
    }

    /// Remembers. Of a path without recordings there is nothing to remember.
    fn write(&mut self, records: &[Record]) {
        if self.log.is_there() || records.iter().any(|record| matches!(record, Record::Put(_))) {
            self.log.add(records);
        }
    }

    /// Takes over what some folders hold now.
    fn merge(&mut self, folders: &[(String, Vec<Item>)]) {
        let looked: HashSet<&str> = folders.iter().map(|(name, _)| &**name).collect();
        let mut known: HashMap<Arc<str>, usize> = HashMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let (folder, _) = entry.segment.file.rsplit_once('/').unwrap_or_default();
            if looked.contains(folder) {
                known.insert(entry.segment.file.clone(), at);
            }
        }
        let mut records = Vec::new();
        let (mut fresh, mut changed) = (Vec::new(), Vec::new());
        let items = folders
            .iter()
            .flat_map(|(folder, items)| items.iter().map(move |item| (folder, item)));
        for (folder, item) in items {
            let Kind::File { size, modified } = item.kind else {
                continue;
            };
            let file = below(folder, &item.name);
            if let Some(at) = known.remove(&*file) {
                changed.push((at, size, modified));
                continue;
            }
            let Some((_, start, format)) = self.rule.read(&file, Some(self.path.as_str())) else {
                continue;
            };
            if !self.rivals.leave(&file, self.path.as_str()) {
                continue;
            }
            // Its recorder may not have been heard yet.
            let active = self.directory.is_open(&file);
            fresh.push(Entry {
                segment: Segment {
                    start,
                    duration: 0,
                    size,
                    file: file.into(),
                    format,
                    active,
                    known: false,
                    join: None,
                    tracks: 0,
                },
                modified,
                born: None,
                finished: false,
            });
        }
        let mut gone: Vec<usize> = known.into_values().collect();
        gone.sort_unstable();
        for (at, size, modified) in changed {
            let Some(entry) = self.entries.get_mut(at) else {
                continue;
            };
            if entry.segment.active || (entry.segment.size, entry.modified) == (size, modified) {
                continue;
            }
            // Somebody else wrote to it.
            entry.segment.size = size;
            entry.modified = modified;
            entry.segment.known = false;
            records.push(Record::Put(entry.clone()));
        }
        let mut gone = gone.into_iter().peekable();
        let mut at = 0;
        self.entries.retain(|entry| {
            let is_gone = gone.next_if_eq(&at).is_some();
            at += 1;
            if is_gone {
                records.push(gone_record(entry));
            }
            !is_gone
        });
        records.extend(fresh.iter().cloned().map(Record::Put));
        if !records.is_empty() {
            self.shown = None;
        }
        self.entries.extend(fresh);
        self.entries.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        self.write(&records);
    }

    /// A recorder has begun a file.
    pub(super) fn started(&mut self, file: &str) {
        let Some((_, start, format)) = self.rule.read(file, Some(self.path.as_str())) else {
            return;
        };
        self.touch(file);
        self.put(Entry {
            segment: Segment {
                start,
                duration: 0,
                size: 0,
                file: file.into(),
                format,
                active: true,
                known: false,
                join: None,
                tracks: 0,
            },
            modified: 0,
            born: None,
            finished: false,
        });
    }

    /// A recorder has finished a file, when the clock of elapsed time showed so much.
    pub(super) fn done(&mut self, told: &Told, elapsed: u64) {
        if self.get(&told.file).is_none() {
            // What it said first was lost.
            self.started(&told.file);
        }
        let Some(mut entry) = self.get(&told.file).cloned() else {
            return;
        };
        let segment = &mut entry.segment;
        (segment.active, segment.duration) = (false, told.duration);
        (entry.born, entry.finished) = (Some(elapsed), true);
        match self.directory.entry(&told.file) {
            Ok(now) => (segment.size, entry.modified) = (now.size, now.modified),
            Err(storage::Error::NotFound) => return self.forget(entry.segment.start, &told.file),
            // Looked at again when somebody asks.
            Err(_) => {}
        }
        let reader = self.directory.open(&told.file);
        if let Ok(facts) = reader
            .map_err(Into::into)
            .and_then(|reader| probe::facts(&reader, segment.format, Some(told.duration)))
        {
            (segment.join, segment.tracks, segment.known) = (facts.join, facts.tracks, true);
        }
        self.put(entry);
    }

    /// Somebody has looked into a file when it had so many bytes.
    pub(super) fn learn(&mut self, file: &str, size: u64, facts: Facts) {
        let Some(mut entry) = self.get(file).cloned() else {
            return;
        };
        let segment = &mut entry.segment;
        (segment.join, segment.tracks) = (facts.join, facts.tracks);
        if segment.active || segment.size == size {
            segment.duration = facts.duration;
            segment.known = !segment.active;
        }
        self.put(entry);
    }

    /// Whether something is being written.
    pub(super) fn is_active(&self) -> bool {
        self.entries.iter().rev().any(|entry| entry.segment.active)
    }

    /// Puts an entry in the place of the one of its name, if there is one.
    pub(super) fn put(&mut self, entry: Entry) {
        self.shown = None;
        self.write(&[Record::Put(entry.clone())]);
        match self.find(entry.segment.start, &entry.segment.file) {
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
        self.tidy_log();
    }

    /// The entry of a file.
    pub(super) fn get(&self, file: &str) -> Option<&Entry> {
        let (_, start, _) = self.rule.read(file, Some(self.path.as_str()))?;
        let at = self.find(start, file).ok()?;
        self.entries.get(at)
    }

    /// Files that begin at a time.
    pub(super) fn at(&self, start: u64) -> &[Entry] {
        let from = self.entries.partition_point(|entry| entry.segment.start < start);
        let to = self.entries.partition_point(|entry| entry.segment.start <= start);
        &self.entries[from..to]
    }

    /// Removes a file, if nobody writes it, and what is empty then. One that is gone already is forgotten.
    pub(super) fn remove(&mut self, start: u64, file: &str) -> Result<(), super::Error> {
        if self.directory.is_open(file) {
            return Err(super::Error::Active);
        }
        match self.directory.remove(file) {
            Ok(()) | Err(storage::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        self.forget(start, file);
        Ok(())
    }

    /// A file is gone.
    pub(super) fn forget(&mut self, start: u64, file: &str) {
        self.touch(file);
        if let Ok(at) = self.find(start, file) {
            let entry = self.entries.remove(at);
            self.shown = None;
            self.write(&[gone_record(&entry)]);
            self.tidy_log();
        }
    }

    /// All segments, as they are now. Costs a call to the system for each one that is being written, and a copy if
    /// something changed since the last time.
    pub(super) fn show(&mut self) -> Arc<[Segment]> {
        self.look_at_active();
        match &self.shown {
            Some(shown) => shown.clone(),
            None => {
                let shown: Arc<[Segment]> = self.entries.iter().map(|entry| entry.segment.clone()).collect();
                self.shown = Some(shown.clone());
                shown
            }
        }
    }

    fn look_at_active(&mut self) {
        let mut changed = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.segment.active) {
            let segment = &mut entry.segment;
            segment.active = self.directory.is_open(&segment.file);
            changed |= !segment.active;
            let Ok(now) = self.directory.entry(&segment.file) else {
                continue;
            };
            if (segment.size, entry.modified) != (now.size, now.modified) {
                (segment.size, entry.modified) = (now.size, now.modified);
                segment.duration = now.modified.saturating_sub(segment.start);
                changed = true;
            }
        }
        if changed {
            self.shown = None;
        }
    }

    /// Bytes of all files.
    pub(super) fn size(&mut self) -> u64 {
        self.look_at_active();
        let sizes = self.entries.iter().map(|entry| entry.segment.size);
        sizes.fold(0, u64::saturating_add)
    }

    fn find(&self, start: u64, file: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key().cmp(&(start, file)))
    }

    fn touch(&mut self, file: &str) {
        let (folder, _) = file.rsplit_once('/').unwrap_or_default();
        // Above it, folders may have come or gone with it.
        for (name, known) in &mut self.folders {
            let leads = name.is_empty()
                || folder == name
                || folder.strip_prefix(&**name).is_some_and(|rest| rest.starts_with('/'));
            known.touched |= leads;
        }
    }

    fn tidy_log(&mut self) {
        if self.entries.is_empty() {
            return self.log.clear();
        }
        let live = self.entries.len() + self.folders.len();
        if !self.log.is_stale(live) {
            return;
        }
        let entries = self.entries.iter().cloned().map(Record::Put);
        let folders = self.folders.iter().map(|(name, folder)| Record::Folder {
            name: name.clone(),
            stamp: folder.stamp,
        });
        self.log.compact(entries.chain(folders));
    }
}

impl Folder {
    /// Whether nothing can have changed in it.
    fn holds(&self, stamp: Option<Stamp>, thorough: bool, unstamped: bool) -> bool {
        match (self.stamp, stamp) {
            (Some(then), Some(now)) => then == now && !(thorough && self.unsure),
            (None, None) if unstamped => !thorough && self.looked.is_some_and(|looked| looked.elapsed() < UNSTAMPED),
            _ => false,
        }
    }

    /// Whether what we did is why it changed; then it is known as it is now.
    fn explains(&mut self, stamp: Option<Stamp>) -> bool {
        let explained = self.touched && self.looked.is_some();
        if explained && stamp.is_some() {
            (self.stamp, self.touched, self.unsure) = (stamp, false, true);
        }
        explained
    }
}

fn gone_record(entry: &Entry) -> Record {
    Record::Gone {
        start: entry.segment.start,
        file: entry.segment.file.to_string(),
    }
}

/// The name of what stands in a folder.
pub(super) fn below(folder: &str, leaf: &str) -> String {
    match folder {
        "" => leaf.to_owned(),
        folder => format!("{folder}/{leaf}"),
    }
}
