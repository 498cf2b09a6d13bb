//! What the pretended server offers to plugins, as a test sets it up and looks at it afterwards. A test may also use [`kv`](crate::kv) and
//! [`storage`](crate::storage) itself: it sees what its plugins see.

use std::collections::BTreeMap;

use crate::host::server;
use crate::http::{Error, Request, Response};

/// Something that an operator may not have granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// [`crate::kv`].
    Kv,
    /// [`crate::http`].
    Http,
    /// [`crate::storage`].
    Storage,
    /// [`crate::control`].
    Control,
}

/// Takes back what is granted in tests at first, which is all.
pub fn withdraw(grant: Grant) {
    server(|server| match grant {
        Grant::Kv => server.kv.granted = false,
        Grant::Http => server.http.granted = false,
        Grant::Storage => server.storage.granted = false,
        Grant::Control => server.signals.granted = false,
    });
}

/// From now on this answers HTTP requests, all of them, instead of what was set before. At first they end with [`Error::Refused`].
pub fn answer_http(answer: impl FnMut(&Request) -> Result<Response, Error> + 'static) {
    server(|server| server.http.answer = Some(Box::new(answer)));
}

/// The HTTP requests sent since the last call, answered or not.
pub fn take_requests() -> Vec<Request> {
    server(|server| std::mem::take(&mut server.http.requests))
}

/// How many bytes the files may have in all; past it appending ends with [`Full`](crate::storage::Error::Full). At first there is no bound.
pub fn set_storage_room(bytes: u64) {
    server(|server| server.storage.room = bytes);
}

/// What plugins reported, by name. What the server would not show is not here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Sums.
    pub counters: BTreeMap<String, u64>,
    /// Last values.
    pub gauges: BTreeMap<String, f64>,
    /// All values, in order.
    pub observations: BTreeMap<String, Vec<f64>>,
}

/// What a plugin said of a file that it records to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its name.
    pub file: String,
    /// Of its first frame, in microseconds since 1970.
    pub start: u64,
    /// Microseconds, once it is finished.
    pub duration: Option<u64>,
}

/// What was said of recorded files since the last call, in order.
pub fn take_recordings() -> Vec<Recording> {
    server(|server| std::mem::take(&mut server.signals.recordings))
}

/// What was reported in this test so far.
pub fn metrics() -> Metrics {
    server(|server| server.signals.metrics.clone())
}

/// The events raised since the last call: kind and content.
pub fn take_raised() -> Vec<(String, serde_json::Value)> {
    let raised = server(|server| std::mem::take(&mut server.signals.raised));
    let read = |json: String| serde_json::from_str(&json).unwrap_or(serde_json::Value::String(json));
    raised.into_iter().map(|(kind, json)| (kind, read(json))).collect()
}

/// The paths whose publishers were asked for a keyframe since the last call.
pub fn take_keyframe_requests() -> Vec<String> {
    server(|server| std::mem::take(&mut server.signals.keyframes))
}

/// The sessions that were to be ended since the last call, and the reasons.
pub fn take_kicks() -> Vec<(String, String)> {
    server(|server| std::mem::take(&mut server.signals.kicks))
}

#[cfg(test)]
mod tests;
