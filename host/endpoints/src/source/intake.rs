//! Tags of a source into its path: the stream goes online once its tracks are known.

use std::time::Instant;

use tracing::warn;
use wasmtx_protocol::{
    flv::{Demuxer, Output, Tag},
    rtmp::amf0::Value,
};

use super::{Failure, Source, target::Target};
use crate::wall_clock;

/// What a source's tags go through.
#[derive(Debug, Default)]
pub(super) struct Intake {
    demuxer: Demuxer,
    /// When it wants to be looked at although nothing came.
    deadline: Option<Instant>,
}

impl Intake {
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
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, source: &mut Source, target: &Target) -> Result<(), Failure> {
        self.demuxer.handle_timeout(now);
        self.drain(now, source, target)
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
