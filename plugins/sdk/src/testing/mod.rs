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

use std::time::Duration;

use crate::events::{Event, Events, Stamp};
use crate::host::server;
use crate::log::Level;
use crate::transcoder::{Plan, Target, Transcoder};
use crate::{Error, Plugin, Publication, Track, clock, config};

pub use reader::Reader;
pub use samples::{client, delta, h264, key, opus, publication, request, segment};
pub use services::{
    Grant, Metrics, answer_http, metrics, set_storage_room, take_keyframe_requests, take_kicks, take_raised,
    take_requests, withdraw,
};
pub use stream::{Closed, Output, Stream};

/// A plugin from the JSON that the server would make of its `config` section, by the same way: what fails here fails there.
pub fn configure<P: Plugin>(json: &str) -> Result<P, Error> {
    P::new(config::parse(json)?)
}

/// Sets both clocks. They stand still otherwise, at first at zero.
pub fn set_clock(now: Duration) {
    server(|server| server.now = now.as_micros().try_into().unwrap_or(u64::MAX));
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

/// Asks a transcoder and answers the tracks that readers are then offered: those of the source that stay, as they stay, then the added ones, with
/// ids above the source's. A plan for a track that there is not, or a second one beside what is not an addition, is an error, as in the server.
pub fn transcoded(plugin: &mut impl Transcoder, publication: Publication) -> Result<Vec<Track>, Error> {
    let mut tracks = publication.tracks.clone();
    let mut planned = Vec::new();
    let mut added = Vec::new();
    let mut next = tracks.iter().map(|track| track.id).max().unwrap_or_default();
    for (id, plan) in plugin.decide(publication)? {
        let place = tracks.iter().position(|track| track.id == id);
        let place = place.ok_or_else(|| Error::other(format!("there is no track {id}")))?;
        match plan {
            Plan::Add(target) => {
                next += 1;
                let track = coded(&tracks[place], &target);
                added.push(Track { id: next, ..track });
                continue;
            }
            _ if planned.contains(&id) => return Err(Error::other(format!("two plans for track {id}"))),
            Plan::Keep => {}
            Plan::Drop => drop(tracks.remove(place)),
            Plan::Replace(target) => tracks[place] = coded(&tracks[place], &target),
        }
        planned.push(id);
    }
    tracks.extend(added);
    Ok(tracks)
}

/// The track, as the target has it where that says something.
fn coded(track: &Track, target: &Target) -> Track {
    let or = |value: u32, source: u32| if value == 0 { source } else { value };
    Track {
        codec: if target.codec.is_empty() {
            &track.codec
        } else {
            &target.codec
        }
        .clone(),
        width: or(target.width, track.width),
        height: or(target.height, track.height),
        channels: or(target.channels, track.channels),
        sample_rate: or(target.sample_rate, track.sample_rate),
        parameters: Vec::new(),
        ..track.clone()
    }
}
