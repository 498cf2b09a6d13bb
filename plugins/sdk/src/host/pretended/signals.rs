//! What goes out and is not answered: figures, events, wishes. Kept until the test looks.

use crate::testing::{Metrics, Recording};

/// Of a metric's name.
const NAME: usize = 64;
/// Of an event's content; what is longer stands in the log only.
const JSON: usize = 4 << 10;

pub(crate) struct Signals {
    /// Wishes are heard.
    pub(crate) granted: bool,
    pub(crate) metrics: Metrics,
    /// Kind and JSON text.
    pub(crate) raised: Vec<(String, String)>,
    /// Paths.
    pub(crate) keyframes: Vec<String>,
    /// Session and reason.
    pub(crate) kicks: Vec<(String, String)>,
    /// What was said of recorded files, in order.
    pub(crate) recordings: Vec<Recording>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            granted: true,
            metrics: Metrics::default(),
            raised: Vec::new(),
            keyframes: Vec::new(),
            kicks: Vec::new(),
            recordings: Vec::new(),
        }
    }
}

fn signals<R>(look: impl FnOnce(&mut Signals) -> R) -> R {
    super::server(|server| look(&mut server.signals))
}

pub(crate) mod metrics {
    use super::{Metrics, NAME, signals};

    pub(crate) fn counter(name: &str, delta: u64) {
        report(name, 0.0, |metrics| {
            let counter = metrics.counters.entry(name.to_owned()).or_default();
            *counter = counter.saturating_add(delta);
        });
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        report(name, value, |metrics| {
            metrics.gauges.insert(name.to_owned(), value);
        });
    }

    pub(crate) fn observe(name: &str, value: f64) {
        report(name, value, |metrics| {
            metrics.observations.entry(name.to_owned()).or_default().push(value);
        });
    }

    /// The server shows neither odd names nor odd values.
    fn report(name: &str, value: f64, note: impl FnOnce(&mut Metrics)) {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if name.len() <= NAME && begins && name.bytes().all(fits) && value.is_finite() {
            signals(|signals| note(&mut signals.metrics));
        }
    }
}

pub(crate) mod notify {
    pub(crate) fn raise(kind: &str, json: &str) {
        if json.len() <= super::JSON {
            super::signals(|signals| signals.raised.push((kind.to_owned(), json.to_owned())));
        }
    }
}

pub(crate) mod recording {
    use super::{Recording, signals};

    pub(crate) fn started(file: &str, start: u64) {
        note(file, start, None);
    }

    pub(crate) fn done(file: &str, start: u64, duration: u64) {
        note(file, start, Some(duration));
    }

    fn note(file: &str, start: u64, duration: Option<u64>) {
        let file = file.to_owned();
        signals(|signals| signals.recordings.push(Recording { file, start, duration }));
    }
}

pub(crate) mod control {
    use super::signals;

    pub(crate) fn request_keyframe(path: &str) {
        signals(|signals| {
            if signals.granted {
                signals.keyframes.push(path.to_owned());
            }
        });
    }

    pub(crate) fn kick(session: &str, reason: &str) {
        signals(|signals| {
            if signals.granted {
                signals.kicks.push((session.to_owned(), reason.to_owned()));
            }
        });
    }
}
