//! What a store has, remembered for a moment: a list of many names takes a request per thousand.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::storage::Entry;

/// For so long others may have changed something without our notice.
const FRESH: Duration = Duration::from_secs(5);
/// Lists that are remembered.
const LISTS: usize = 8;

/// Files, and directories if there was no looking into them.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) entries: Vec<Entry>,
    pub(super) directories: Vec<String>,
}

/// What was asked for: a directory, and whether all below it was meant.
pub(super) type Asked = (String, bool);

/// Lists by what was asked for.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    lists: BTreeMap<Asked, (Instant, Arc<List>)>,
    /// How often the store was changed.
    changes: u64,
}

impl Lists {
    /// Something changed in the store: nothing that was known, or is being asked for now, is.
    pub(super) fn clear(&self) {
        let mut known = self.0.lock();
        known.lists.clear();
        known.changes = known.changes.wrapping_add(1);
    }

    pub(super) fn get<E>(&self, asked: &Asked, ask: impl FnOnce() -> Result<List, E>) -> Result<Arc<List>, E> {
        let now = Instant::now();
        let changes = {
            let mut known = self.0.lock();
            known.lists.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
            if let Some((_, list)) = known.lists.get(asked) {
                return Ok(list.clone());
            }
            known.changes
        };
        let list = Arc::new(ask()?);
        let mut known = self.0.lock();
        if known.changes == changes && known.lists.len() < LISTS {
            known.lists.insert(asked.clone(), (now, list.clone()));
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_once_until_something_changes() {
        let lists = Lists::default();
        let mut asked = 0;
        let mut get = |lists: &Lists| {
            let list = lists.get(&("a".to_owned(), true), || {
                asked += 1;
                Ok::<_, ()>(List::default())
            });
            list.unwrap();
            asked
        };
        assert_eq!((get(&lists), get(&lists)), (1, 1));
        lists.clear();
        assert_eq!((get(&lists), get(&lists)), (2, 2));
        // What changes while it is asked for is not known after.
        let changing = |lists: &Lists| {
            lists.clear();
            Ok::<_, ()>(List::default())
        };
        lists.get(&("b".to_owned(), false), || changing(&lists)).unwrap();
        assert!(lists.get(&("b".to_owned(), false), || Err(())).is_err());
    }
}
