//! `metrics`: a guest's own series, under the plugin's and the path's label.

use super::State;
use crate::{bindings::plugin::metrics::Host, metrics::Sample};

impl Host for State {
    fn counter(&mut self, name: String, delta: u64) {
        self.place.sample(name, Sample::Counter(delta));
    }

    fn gauge(&mut self, name: String, value: f64) {
        self.place.sample(name, Sample::Gauge(value));
    }

    fn observe(&mut self, name: String, value: f64) {
        self.place.sample(name, Sample::Summary { count: 1, sum: value });
    }
}
