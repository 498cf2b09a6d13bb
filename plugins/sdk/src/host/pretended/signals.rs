//! What goes out and is not answered: figures, events, wishes. Kept until the test looks.

use crate::testing::Metrics;

#[derive(Default)]
pub(crate) struct Signals {
    pub(crate) metrics: Metrics,
    /// Kind and JSON text.
    pub(crate) raised: Vec<(String, String)>,
    /// Paths.
    pub(crate) keyframes: Vec<String>,
    /// Session and reason.
    pub(crate) kicks: Vec<(String, String)>,
}

fn signals<R>(look: impl FnOnce(&mut Signals) -> R) -> R {
    super::server(|server| look(&mut server.signals))
}

pub(crate) mod metrics {
    use super::signals;

    pub(crate) fn counter(name: &str, delta: u64) {
        signals(|signals| {
            let counter = signals.metrics.counters.entry(name.to_owned()).or_default();
            *counter = counter.saturating_add(delta);
        });
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        signals(|signals| signals.metrics.gauges.insert(name.to_owned(), value));
    }

    pub(crate) fn observe(name: &str, value: f64) {
        signals(|signals| {
            let values = signals.metrics.observations.entry(name.to_owned()).or_default();
            values.push(value);
        });
    }
}

pub(crate) mod notify {
    pub(crate) fn raise(kind: &str, json: &str) {
        super::signals(|signals| signals.raised.push((kind.to_owned(), json.to_owned())));
    }
}

pub(crate) mod control {
    use super::signals;

    pub(crate) fn request_keyframe(path: &str) {
        signals(|signals| signals.keyframes.push(path.to_owned()));
    }

    pub(crate) fn kick(session: &str, reason: &str) {
        signals(|signals| signals.kicks.push((session.to_owned(), reason.to_owned())));
    }
}
