//! A class of series: the same rows for each object of a kind.

use super::{
    Filter,
    text::{self, Object, Text},
};

/// Series of one kind of object.
pub(super) struct Class {
    /// The comment above it.
    pub(super) title: &'static str,
    /// Also the series that says that an object is there.
    pub(super) name: &'static str,
    /// The parameter that asks for one.
    pub(super) object: &'static str,
    /// What follows the name, of each series.
    pub(super) current: &'static [&'static str],
    /// The same, of the names of older versions; empty when there are none.
    pub(super) deprecated: &'static [&'static str],
}

impl Class {
    /// Writes the class, if it is asked for. Without objects each series has one row without labels; when one object was
    /// asked for and there is none at all, nothing is written.
    pub(super) fn write(&self, text: &mut Text, filter: &Filter<'_>, objects: impl FnOnce() -> Vec<Object>) {
        let Some(wanted) = filter.wants(self.name, self.object) else {
            return;
        };
        let objects = objects();
        if objects.is_empty() && wanted.is_some() {
            return;
        }
        let is_empty = objects.is_empty();
        let objects = objects
            .into_iter()
            .filter(|object| wanted.is_none_or(|wanted| object.labels[0].1 == wanted));
        let objects = text::bounded(objects.collect(), self.current.len() + self.deprecated.len());
        for (title, series) in [("", self.current), (" (deprecated)", self.deprecated)] {
            if series.is_empty() {
                continue;
            }
            text.title(&format!("{}{title}", self.title));
            if is_empty {
                series.iter().for_each(|suffix| text.row(self.name, suffix, &[], 0));
            }
            for object in &objects {
                let values = if title.is_empty() {
                    &object.current
                } else {
                    &object.deprecated
                };
                for (suffix, value) in series.iter().zip(values) {
                    text.row(self.name, suffix, &object.labels, *value);
                }
            }
            text.end();
        }
    }
}
