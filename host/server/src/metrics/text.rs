//! The text format of Prometheus, version 0.0.4, as far as it is needed.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

/// Rows of one class of objects; what is beyond is summed into one object (threat T51).
const MAX_ROWS: usize = 10_000;
/// Every label of the object that stands for the rest. No path and no id can be called so.
const REST: &str = "*";

/// Names and values of a row, in alphabetical order of the names.
pub(super) type Labels = [(&'static str, String)];

/// One object of a class: what it is, and a value per series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) current: Vec<u64>,
    pub(super) deprecated: Vec<u64>,
    /// Readers by type, of a path.
    pub(super) readers: BTreeMap<&'static str, u64>,
}

/// Sums up what is more than `MAX_ROWS` rows, when each object has `rows` of them.
pub(super) fn bounded(mut objects: Vec<Object>, rows: usize) -> Vec<Object> {
    let max = MAX_ROWS / rows.max(1);
    if objects.len() <= max {
        return objects;
    }
    let mut rest = objects.split_off(max - 1).into_iter();
    if let Some(mut sum) = rest.next() {
        for object in rest {
            add(&mut sum.current, &object.current);
            add(&mut sum.deprecated, &object.deprecated);
            for (kind, count) in object.readers {
                *sum.readers.entry(kind).or_default() += count;
            }
        }
        sum.labels.iter_mut().for_each(|(_, value)| *value = REST.to_owned());
        objects.push(sum);
    }
    objects
}

fn add(sum: &mut [u64], values: &[u64]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum = sum.saturating_add(*value));
}

/// A text being written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// The comment above a class, as MediaMTX has it.
    pub(super) fn title(&mut self, title: &str) {
        self.line(format_args!("# {title}"));
    }

    /// What a series of ours means and whether it only grows.
    pub(super) fn describe(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One value.
    pub(super) fn row(&mut self, name: &str, suffix: &str, labels: &Labels, value: impl Display) {
        let mut shown = String::new();
        for (at, (label, value)) in labels.iter().enumerate() {
            let separator = if at == 0 { '{' } else { ',' };
            let _ = write!(shown, "{separator}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            shown.push('}');
        }
        self.line(format_args!("{name}{suffix}{shown} {value}"));
    }

    /// The end of a class.
    pub(super) fn end(&mut self) {
        self.0.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let mut text = Text::default();
        text.row("a", "_b", &[("x", "\"} 7\n\\".to_owned()), ("y", String::new())], 1.5);
        assert_eq!(text.finish(), "a_b{x=\"\\\"} 7\\n\\\\\",y=\"\"} 1.5\n");
    }

    #[test]
    fn more_objects_than_fit_are_summed_up() {
        let object = |n: usize| Object {
            labels: vec![("id", n.to_string())],
            current: vec![1, 2],
            deprecated: vec![2],
            readers: BTreeMap::from([("rtspSession", 3)]),
        };
        let objects = bounded((0..MAX_ROWS).map(object).collect(), 10);
        assert_eq!(objects.len(), MAX_ROWS / 10);
        let rest = objects.last().unwrap();
        let count = (MAX_ROWS - MAX_ROWS / 10 + 1) as u64;
        assert_eq!(rest.readers["rtspSession"], 3 * count);
        assert_eq!(rest.labels, [("id", REST.to_owned())]);
        assert_eq!(
            (&rest.current, &rest.deprecated),
            (&vec![count, count * 2], &vec![count * 2])
        );
        assert_eq!(bounded(objects.clone(), 10), objects);
    }
}
