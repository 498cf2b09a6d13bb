//! Figures, collected and shown as a table or as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::{Map, Value as Json, json};

use crate::plugin_cli::shown;

/// What was measured.
#[derive(Default)]
pub(super) struct Report {
    times: Vec<(String, Times)>,
    /// Key for JSON, text for people, value, unit.
    values: Vec<(&'static str, String, Value)>,
    notes: Vec<String>,
}

enum Value {
    Bytes(i64),
    /// 1 is all of it.
    Share(f64),
}

/// Times kept of each kind; past it every second one is forgotten, so that those kept are spread over the whole.
const KEPT: usize = 1 << 20;

/// How long something took, many times.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    kept: Vec<Duration>,
    count: usize,
    /// One in 2 to the power of this is kept.
    thinned: u32,
}

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        if self.count.is_multiple_of(1 << self.thinned) {
            if self.kept.len() == KEPT {
                let mut place = 0usize;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.thinned += 1;
            }
            self.kept.push(time);
        }
        self.count += 1;
    }

    /// How often it was timed.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The time within which `percent` of all were done.
    pub(super) fn within(&self, percent: usize) -> Duration {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(place).copied().unwrap_or_default()
    }
}

impl Report {
    /// Something to know before the figures are believed.
    pub(super) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// How long something took; nothing when it never happened.
    pub(super) fn times(&mut self, what: &str, times: &Times) {
        if times.len() > 0 {
            self.times.push((what.to_owned(), times.clone()));
        }
    }

    pub(super) fn bytes(&mut self, key: &'static str, what: &str, bytes: i64) {
        self.values.push((key, what.to_owned(), Value::Bytes(bytes)));
    }

    pub(super) fn share(&mut self, key: &'static str, what: &str, share: f64) {
        self.values.push((key, what.to_owned(), Value::Share(share)));
    }

    pub(super) fn print(&self, output: &mut dyn Write) -> io::Result<()> {
        for note in &self.notes {
            writeln!(output, "note: {note}")?;
        }
        writeln!(
            output,
            "{:<44} {:>10} {:>10} {:>10} {:>9}",
            "", "min", "median", "p99", "times"
        )?;
        for (what, times) in &self.times {
            let [min, median, p99] = [0, 50, 99].map(|percent| shown::time(times.within(percent)));
            let count = shown::count(times.len() as u64);
            writeln!(output, "{what:<44} {min:>10} {median:>10} {p99:>10} {count:>9}")?;
        }
        for (_, what, value) in &self.values {
            let value = match value {
                Value::Bytes(bytes) => shown::bytes(bytes.unsigned_abs()),
                Value::Share(share) => format!("{:.2} %", share * 100.0),
            };
            writeln!(output, "{what:<66} {value:>10}")?;
        }
        Ok(())
    }

    pub(super) fn json(&self, file: &str, failures: u64) -> Json {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let row = |(what, times): &(String, Times)| {
            let [min, median, p99] = [0, 50, 99].map(|percent| nanos(times.within(percent)));
            json!({ "what": what, "min": min, "median": median, "p99": p99, "times": times.len() })
        };
        let mut json = Map::new();
        json.insert("file".into(), file.into());
        json.insert("nanos".into(), self.times.iter().map(row).collect());
        for (key, _, value) in &self.values {
            let value = match value {
                Value::Bytes(bytes) => json!(bytes),
                Value::Share(share) => json!(share),
            };
            json.insert((*key).to_owned(), value);
        }
        json.insert("failures".into(), failures.into());
        json.insert("notes".into(), json!(self.notes));
        Json::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut times = Times::default();
        for nanos in (1..=200).rev() {
            times.push(Duration::from_nanos(nanos));
        }
        let nanos = |percent| times.within(percent).as_nanos();
        assert_eq!([nanos(0), nanos(50), nanos(99), nanos(100)], [1, 101, 199, 200]);
        assert_eq!(Times::default().within(99), Duration::ZERO);
    }

    #[test]
    fn of_very_many_times_some_are_kept_from_all_over() {
        let mut times = Times::default();
        for nanos in 0..3 * KEPT as u64 {
            times.push(Duration::from_nanos(nanos));
        }
        assert_eq!(times.len(), 3 * KEPT);
        assert!(times.kept.len() <= KEPT);
        let median = times.within(50).as_nanos();
        assert!(median.abs_diff(3 * KEPT as u128 / 2) < 16, "{median}");
    }

    #[test]
    fn a_report_is_a_table_and_json() {
        let mut report = Report::default();
        let mut times = Times::default();
        times.push(Duration::from_nanos(146));
        report.times("a call", &times);
        report.times("what never happened", &Times::default());
        report.bytes("memory", "memory", 65_536);
        report.share("core", "of a core", 0.125);
        let mut shown = Vec::new();
        report.print(&mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        for word in ["a call", "146 ns", "64.0 KiB", "12.50 %"] {
            assert!(shown.contains(word), "{word} is not in\n{shown}");
        }
        assert!(!shown.contains("never"));
        let json = report.json("a.wasm", 0);
        assert_eq!(
            (&json["nanos"][0]["median"], &json["memory"]),
            (&json!(146), &json!(65_536))
        );
    }
}
