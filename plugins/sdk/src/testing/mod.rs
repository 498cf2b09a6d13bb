//! A pretended server, so that `cargo test` can run plugins natively, without a component, a network or a clock.
//!
//! ```
//! use wasmtx_plugin::filter::Filter;
//! use wasmtx_plugin::testing::{Stream, configure, h264, key, publication};
//! # use wasmtx_plugin::{Error, NoConfig, Plugin};
//! # struct Slim;
//! # impl Plugin for Slim {
//! #     type Config = NoConfig;
//! #     fn new(_: NoConfig) -> Result<Self, Error> { Ok(Slim) }
//! # }
//! # impl Filter for Slim {}
//!
//! let slim: Slim = configure("{}").unwrap();
//! let mut stream = Stream::open(slim, publication("cam1", [h264(1)])).unwrap();
//! assert_eq!(stream.push(key(1, 0), b"picture").unwrap().len(), 1);
//! ```
//!
//! Every thread has a server of its own, and the test runner gives every test a thread.

mod reader;
mod samples;
mod services;
mod stream;
mod transcoded;

use std::time::Duration;

use crate::events::{Event, Events, Stamp};
use crate::host::server;
use crate::log::Level;
use crate::{Error, Plugin, clock, config};

pub use reader::Reader;
pub use samples::{client, delta, h264, key, opus, publication, request, segment};
pub use services::{
    Grant, Metrics, Recording, answer_http, metrics, set_storage_room, take_keyframe_requests, take_kicks, take_raised,
    take_recordings, take_requests, withdraw,
};
pub use stream::{Closed, Output, Stream};
pub use transcoded::transcoded;

/// A plugin from the JSON that the server would make of its `config` section, by the same way: what fails here fails there.
pub fn configure<P: Plugin>(json: &str) -> Result<P, Error> {
    P::new(config::parse(json)?)
}

/// Sets both clocks. They stand still otherwise, at first at zero.
pub fn set_clock(now: Duration) {
    server(|server| server.now = now.as_micros().try_into().unwrap_or(u64::MAX));
}

/// Sets how far local time is ahead of UTC, in seconds; at first it is not.
pub fn set_offset(offset: i32) {
    server(|server| server.offset = offset);
}

/// Lets time pass: what a plugin keeps for less than that is gone.
pub fn advance_clock(time: Duration) {
    set_clock(clock::now() + time);
}

/// Calls [`Plugin::tick`] with the present time, whether or not it is due.
pub fn tick(plugin: &mut impl Plugin) {
    plugin.tick(clock::now());
}

/// What the client under decision proved, for [`auth::verify`](crate::auth::verify).
pub fn set_proof(user: &str, secret: &str) {
    server(|server| server.proof = Some((user.to_owned(), secret.to_owned())));
}

/// The lines logged since the last call.
pub fn take_log() -> Vec<(Level, String)> {
    server(|server| std::mem::take(&mut server.lines))
}

/// Tells the plugin that this happened, now. Events are numbered over the test, none is lost.
pub fn announce(plugin: &mut impl Events, event: Event) {
    let at = server(|server| {
        server.events += 1;
        Stamp {
            time: server.now,
            number: server.events,
            lost: 0,
        }
    });
    plugin.on_event(at, event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CloseReason, NoConfig};

    /// Notes what it is told.
    struct Ear(Vec<(Stamp, String)>);

    impl Plugin for Ear {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, Error> {
            Ok(Self(Vec::new()))
        }

        fn tick(&mut self, now: Duration) {
            assert_eq!(now, Duration::from_millis(1_500));
            self.0.clear();
        }
    }

    impl Events for Ear {
        fn on_event(&mut self, at: Stamp, event: Event) {
            let path = event.path().unwrap_or("-");
            self.0.push((at, format!("{} {path}", event.kind())));
        }
    }

    #[test]
    fn events_come_with_number_and_time() {
        let mut ear: Ear = configure("").unwrap();
        announce(&mut ear, Event::Connected(client()));
        set_clock(Duration::from_secs(1));
        advance_clock(Duration::from_millis(500));
        announce(&mut ear, Event::SegmentDone(segment("cam1")));
        let [(first, _), (second, what)] = ear.0.as_slice() else {
            panic!("{:?}", ear.0);
        };
        assert_eq!((first.number, first.when()), (1, Duration::ZERO));
        assert_eq!((second.number, second.when()), (2, Duration::from_millis(1_500)));
        assert_eq!((what.as_str(), second.lost), ("segment-done cam1", 0));
        tick(&mut ear);
        assert!(ear.0.is_empty());
    }

    #[test]
    fn an_event_knows_its_kind_and_path() {
        let path = || "cam1".to_owned();
        let events = [
            (Event::Connected(client()), "connected -"),
            (Event::Disconnected((client(), CloseReason::Ended)), "disconnected -"),
            (Event::Refused((path(), client())), "refused cam1"),
            (Event::Refused((String::new(), client())), "refused -"),
            (Event::Online(publication("cam1", [])), "online cam1"),
            (Event::Offline((path(), CloseReason::Ended)), "offline cam1"),
            (Event::Reading((path(), client())), "reading cam1"),
            (
                Event::ReadEnded((path(), client(), CloseReason::Ended)),
                "read-ended cam1",
            ),
            (Event::SegmentStarted(segment("cam1")), "segment-started cam1"),
            (Event::PluginFailed((path(), "it trapped".into())), "plugin-failed cam1"),
            (Event::Other(("motion".into(), "{}".into())), "motion -"),
        ];
        let mut ear: Ear = configure("").unwrap();
        for (event, expected) in events {
            announce(&mut ear, event);
            assert_eq!(ear.0.pop().unwrap().1, expected);
        }
        assert_eq!(client().protocol.name(), "rtsp");
        assert_eq!(CloseReason::TooSlow.name(), "too-slow");
        assert_eq!(segment("cam1").length(), Duration::from_secs(60));
        assert_eq!(segment("cam1").begins().as_secs(), 1_767_225_600);
    }
}
