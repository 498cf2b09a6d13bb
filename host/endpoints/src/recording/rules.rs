//! What the configuration says about recordings, entry by entry.

use std::{fmt, sync::Arc, time::Duration};

use wasmtx_hub::PathName;
use wasmtx_media::recording::{Format, Template};

use crate::storage::{MinFree, Options, Place};

/// How the recordings of a configured entry are called, and how long they stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The directory in front of the template.
    pub place: Place,
    /// The rest of `recordPath`.
    pub template: Template,
    /// Segments are removed when they are older; zero keeps them.
    pub delete_after: Duration,
    /// Bytes that the segments of one path may have together; 0 for no bound.
    pub max_size: u64,
    /// What stays free of the file system.
    pub min_free: MinFree,
}

impl Rule {
    /// Whether files are in the same place under the same names.
    pub(super) fn same_files(&self, other: &Rule) -> bool {
        self.place == other.place && self.template == other.template
    }

    pub(super) fn options(&self) -> Options {
        let mut options = Options::recordings();
        options.min_free = self.min_free;
        options
    }

    /// The path and the start that the name of a file tells, and its form.
    pub(super) fn read<'a>(&self, file: &'a str, path: Option<&'a str>) -> Option<(&'a str, u64, Format)> {
        let (name, format) = Format::split(file)?;
        let found = self.template.matches(name, path, super::clock::offset)?;
        Some((found.path, found.start, format))
    }
}

/// All entries, and which one a path belongs to.
#[derive(Clone)]
pub struct Rules {
    entries: Arc<[Arc<Rule>]>,
    find: Arc<Find>,
}

type Find = dyn Fn(&PathName) -> Option<Arc<Rule>> + Send + Sync;

impl Rules {
    /// `entries` are all there are; `find` is asked for the one that a path belongs to.
    pub fn new(
        entries: impl IntoIterator<Item = Arc<Rule>>,
        find: impl Fn(&PathName) -> Option<Arc<Rule>> + Send + Sync + 'static,
    ) -> Rules {
        Rules {
            entries: entries.into_iter().collect(),
            find: Arc::new(find),
        }
    }

    /// The entry of a path.
    pub(super) fn of(&self, path: &PathName) -> Option<Arc<Rule>> {
        (self.find)(path)
    }

    /// One entry for each place and template.
    pub(super) fn distinct(&self) -> Vec<Arc<Rule>> {
        let mut distinct: Vec<Arc<Rule>> = Vec::new();
        for entry in &*self.entries {
            if !distinct.iter().any(|other| other.same_files(entry)) {
                distinct.push(entry.clone());
            }
        }
        distinct
    }

    /// The places of all entries on this machine, and one entry of each.
    pub(super) fn local(&self) -> Vec<Arc<Rule>> {
        let mut local: Vec<Arc<Rule>> = Vec::new();
        for entry in &*self.entries {
            let is_local = matches!(entry.place, Place::Directory(_));
            if is_local && !local.iter().any(|other| other.place == entry.place) {
                local.push(entry.clone());
            }
        }
        local
    }

    /// What has to stay free of a file system of `total` bytes, by all entries of a place.
    pub(super) fn floor(&self, place: &Place, total: u64) -> u64 {
        let entries = self.entries.iter().filter(|entry| entry.place == *place);
        entries.map(|entry| entry.min_free.bytes(total)).max().unwrap_or(0)
    }

    /// The shortest time after which something is removed.
    pub(super) fn shortest(&self) -> Option<Duration> {
        let times = self.entries.iter().map(|entry| entry.delete_after);
        times.filter(|time| !time.is_zero()).min()
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::new([], |_| None)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.entries).finish()
    }
}
