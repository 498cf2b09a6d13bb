//! Tags of a source into its path: the stream goes online once its tracks are known.

use std::time::Instant;

use tracing::warn;
use wasmtx_protocol::{
    flv::{Demuxer, Output, Tag},
    rtmp::amf0::Value,
};

use super::{Failure, START, Source, target::Target};
use crate::wall_clock;

/// What a source's tags go through.
#[derive(Debug)]
pub(super) struct Intake {
    demuxer: Demuxer,
    /// A stream that has not told its tracks by then never will.
    tracks_by: Instant,
    /// When it wants to be looked at although nothing came.
    deadline: Option<Instant>,
}

impl Intake {
    /// For a stream whose media may come from now on.
    pub(super) fn new(now: Instant) -> Intake {
        Intake {
            demuxer: Demuxer::new(),
            tracks_by: now + START,
            deadline: None,
        }
    }

    /// Takes a tag.
    pub(super) fn handle_tag(
        &mut self,
        now: Instant,
        tag: &Tag,
        source: &mut Source,
        target: &Target,
    ) -> Result<(), Failure> {
        self.demuxer.handle_tag(now, tag)?;
        self.drain(now, source, target)
    }

    /// Takes what came with a name.
    pub(super) fn handle_data(&mut self, name: &str, values: &[Value]) {
        self.demuxer.handle_data(name, values);
    }

    /// When [`Intake::handle_timeout`] has something to do.
    pub(super) fn deadline(&self, source: &Source) -> Option<Instant> {
        let tracks_by = source.publisher.is_none().then_some(self.tracks_by);
        self.deadline.into_iter().chain(tracks_by).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, source: &mut Source, target: &Target) -> Result<(), Failure> {
        self.demuxer.handle_timeout(now);
        self.drain(now, source, target)?;
        if source.publisher.is_none() && now >= self.tracks_by {
            return Err(Failure::NoTracks);
        }
        Ok(())
    }

    fn drain(&mut self, now: Instant, source: &mut Source, target: &Target) -> Result<(), Failure> {
        loop {
            match (self.demuxer.poll(), &mut source.publisher) {
                (Output::Tracks(tracks), None) => source.go_online(target, tracks)?,
                (Output::Tracks(tracks), Some(publisher)) => {
                    publisher.set_tracks(now, tracks).map_err(Failure::Tracks)?;
                }
                (Output::Frame(frame), Some(publisher)) => {
                    publisher.push(now, wall_clock(), frame).map_err(Failure::Ended)?;
                }
                // Tracks come first.
                (Output::Frame(_), None) => {}
                (Output::Refused(what), _) => {
                    warn!(path = %source.path.name, source = %source.id, "source: {what}");
                }
                (Output::WaitUntil(deadline), _) => {
                    self.deadline = deadline;
                    return Ok(());
                }
            }
        }
    }
}
