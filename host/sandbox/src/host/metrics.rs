//! `metrics`: a guest's own series, under the plugin's and the path's label.

use super::State;
use crate::{bindings::plugin::metrics::Host, metrics::Sample};

impl Host for State {
    fn counter(&mut self, name: String, delta: u64) {
        self.place.sample(name, Sample::Counter(delta), self.limits.series);
    }

    fn gauge(&mut self, name: String, value: f64) {
        self.place.sample(name, Sample::Gauge(value), self.limits.series);
    }

    fn observe(&mut self, name: String, value: f64) {
        let sample = Sample::Summary { count: 1, sum: value };
        self.place.sample(name, sample, self.limits.series);
    }
}
