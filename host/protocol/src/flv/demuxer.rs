//! Tags into tracks and frames.
//!
//! A stream says only by its tags what it consists of. So frames are held back until the tracks are known: each one that the
//! metadata announced is there, or [`PATIENCE`] has passed, or more has come than is held. Then the tracks come out, then
//! the frames. A track that cannot be read is refused by name, and the rest plays.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wasmtx_media::{Error as Broken, Frame, Kind as Media, TrackId, Tracks};

use super::clock::Clock;
use super::coding::Coding;
use super::lane::{Lane, Moment};
use super::packet::{Packet, Packets, Part};
use super::{Error, Kind, Tag};
use crate::rtmp::amf0::{self, Value};

/// How long tracks may take to show up, by our clock and by the stream's own.
const PATIENCE: Duration = Duration::from_secs(1);
/// Frames that are held until the tracks are known.
const MAX_HELD_FRAMES: usize = 1_024;
/// Bytes of those frames.
const MAX_HELD_BYTES: usize = 16 << 20;
/// Tracks of a stream, refused ones included.
const MAX_TRACKS: usize = 16;
/// Packets of one track that may be broken one after the other; with one more the track is refused.
const MAX_BROKEN: u32 = 64;

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// All tracks of the stream: before its first frame, and again when one changes, comes or turns into another.
    Tracks(Tracks),
    /// The next frame, of one of those tracks.
    Frame(Frame),
    /// Something is left out, and why: one line for the log.
    Refused(String),
    /// Nothing more until a tag comes, or until this moment.
    WaitUntil(Option<Instant>),
}

/// Reads one stream of tags.
#[derive(Debug)]
pub struct Demuxer {
    clock: Clock,
    lanes: Vec<Lane>,
    /// The tracks that the metadata names, by kind and number; `None` before metadata.
    announced: Option<Vec<(Media, u8)>>,
    /// Tracks are known, frames go out as they come.
    started: bool,
    /// When the tracks are taken as they are, from the first tag of media on.
    deadline: Option<Instant>,
    /// Only a number that a [`PATIENCE`] of media may have passed since the first tag.
    last_time: i64,
    outputs: VecDeque<Output>,
    held_frames: usize,
    held_bytes: usize,
    /// Ids given so far: a track that comes later gets the next one.
    ids: u32,
    /// It was told that there are too many tracks.
    overflowed: bool,
}

impl Demuxer {
    /// Before the first tag.
    pub fn new() -> Demuxer {
        Demuxer {
            clock: Clock::default(),
            lanes: Vec::new(),
            announced: None,
            started: false,
            deadline: None,
            last_time: 0,
            outputs: VecDeque::new(),
            held_frames: 0,
            held_bytes: 0,
            ids: 0,
            overflowed: false,
        }
    }

    /// Takes a tag. What is broken or unknown in it is left out and told, a track with too much of that is refused; the
    /// stream fails when no track of it can be read.
    pub fn handle_tag(&mut self, now: Instant, tag: &Tag) -> Result<(), Error> {
        if tag.kind == Kind::Script {
            if let Ok(values) = amf0::read_all(&tag.payload)
                && let Some((Value::String(name), values)) = values.split_first()
            {
                self.handle_data(name, values);
            }
            return Ok(());
        }
        if !self.started {
            self.deadline
                .get_or_insert_with(|| now.checked_add(PATIENCE).unwrap_or(now));
        }
        let media = match tag.kind {
            Kind::Video => Media::Video,
            _ => Media::Audio,
        };
        match Packets::read(tag) {
            Ok(read) => {
                let moment = self.moment(media, tag.timestamp, &read);
                for packet in &read.packets {
                    self.handle_packet(media, packet, moment);
                }
            }
            Err(error) => {
                let place = self.place(media, 0);
                self.break_packet(place, "tag", error);
            }
        }
        if !self.started && self.is_complete(now) {
            self.start();
        }
        let is_settled = self.started || self.has_waited(now);
        if is_settled && !self.lanes.is_empty() && self.lanes.iter().all(|lane| lane.refused) {
            return Err(Error::NoTracks);
        }
        Ok(())
    }

    /// Takes values that came with a name: of `onMetaData` it is remembered which tracks they announce.
    pub fn handle_data(&mut self, name: &str, values: &[Value]) {
        if name != "onMetaData" {
            return;
        }
        let Some(metadata) = values
            .iter()
            .find(|value| matches!(value, Value::Object(_) | Value::Ecma(_)))
        else {
            return;
        };
        let mut announced = Vec::new();
        let kinds = [
            (Media::Video, "videocodecid", "videoTrackIdInfoMap"),
            (Media::Audio, "audiocodecid", "audioTrackIdInfoMap"),
        ];
        for (media, codec, map) in kinds {
            // A number is 0 and a text empty where some encoders mean that there is none.
            let is_there = match metadata.property(codec) {
                Some(Value::Number(number)) => *number != 0.0 || media == Media::Audio,
                Some(Value::String(text)) => !text.is_empty(),
                _ => false,
            };
            if is_there {
                announced.push((media, 0));
            }
            if let Some(Value::Object(tracks) | Value::Ecma(tracks)) = metadata.property(map) {
                let numbers = tracks.iter().filter_map(|(number, _)| number.parse::<u8>().ok());
                announced.extend(numbers.map(|number| (media, number)).take(MAX_TRACKS));
            }
        }
        self.announced = Some(announced).filter(|announced| !announced.is_empty());
    }

    /// Takes the time that [`Output::WaitUntil`] asked for.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.started && self.has_waited(now) && self.lanes.iter().any(Lane::is_ready) {
            self.start();
        }
    }

    /// What comes out next. Ends with [`Output::WaitUntil`].
    pub fn poll(&mut self) -> Output {
        let is_held = |output: &Output| matches!(output, Output::Frame(_) | Output::Tracks(_));
        let at = if self.started {
            0
        } else {
            self.outputs
                .iter()
                .position(|output| !is_held(output))
                .unwrap_or(usize::MAX)
        };
        match self.outputs.remove(at) {
            Some(output) => output,
            // Once it has passed, only a track that gets ready can change something.
            None => Output::WaitUntil(
                self.deadline
                    .filter(|_| !self.started && self.lanes.iter().any(Lane::is_ready)),
            ),
        }
    }

    /// When the frames of a tag are. Only those count: relays send configurations again at any time.
    fn moment(&mut self, media: Media, timestamp: u32, read: &Packets) -> Moment {
        let is_frame = |packet: &Packet| matches!(packet.part, Part::Frame(_)) && !packet.data.is_empty();
        let (mut milliseconds, mut jumped) = (0, false);
        if read.packets.iter().any(is_frame) {
            (milliseconds, jumped) = self.clock.next(media == Media::Video, timestamp);
            self.last_time = self.last_time.max(milliseconds);
        }
        let lanes = self.lanes.iter_mut().filter(|lane| jumped && lane.media == media);
        lanes.for_each(|lane| lane.discontinuity = true);
        Moment {
            milliseconds,
            nanoseconds: read.nanoseconds,
        }
    }

    /// The lane of a track; `None` when there are too many.
    fn place(&mut self, media: Media, number: u8) -> Option<usize> {
        let is_it = |lane: &Lane| (lane.media, lane.number) == (media, number);
        if let Some(place) = self.lanes.iter().position(is_it) {
            return Some(place);
        }
        if self.lanes.len() >= MAX_TRACKS {
            if !std::mem::replace(&mut self.overflowed, true) {
                let line = format!("more than {MAX_TRACKS} tracks: the others are left out");
                self.outputs.push_back(Output::Refused(line));
            }
            return None;
        }
        self.lanes.push(Lane::new(media, number));
        self.lanes.len().checked_sub(1)
    }

    fn handle_packet(&mut self, media: Media, packet: &Packet, moment: Moment) {
        let place = self.place(media, packet.track);
        let Some(lane) = place.and_then(|place| self.lanes.get_mut(place)) else {
            return;
        };
        if let Coding::Legacy(_) | Coding::Unknown(_) = packet.coding {
            if !lane.refused {
                self.refuse(
                    place,
                    format!("({}): nothing here reads this codec", packet.coding.name()),
                );
            }
            return;
        }
        if lane.refused && packet.part != Part::Start {
            return;
        }
        let was_ready = lane.is_ready();
        match lane.handle(packet, moment) {
            Ok(outcome) => {
                if packet.part != Part::End {
                    lane.broken = 0;
                }
                if self.started && !was_ready && outcome.changed {
                    lane.id = TrackId(self.ids);
                    self.ids = self.ids.saturating_add(1);
                }
                let id = lane.id;
                if !self.started && outcome.changed {
                    self.forget(place);
                }
                if self.started && outcome.changed {
                    self.outputs.push_back(Output::Tracks(self.tracks()));
                }
                if let Some(frame) = outcome.frame {
                    self.push(Frame { track: id, ..frame }, place);
                }
            }
            // A bad configuration is the end of its track, a bad frame is not.
            Err(error) if packet.part == Part::Start => {
                if !lane.refused {
                    self.refuse(place, format!("({}): {error}", packet.coding.name()));
                }
            }
            Err(error) => self.break_packet(place, &packet.coding.name(), error),
        }
    }

    /// Counts something broken of a track, and tells the first of a run.
    fn break_packet(&mut self, place: Option<usize>, what: &str, error: Broken) {
        let Some(lane) = place.and_then(|place| self.lanes.get_mut(place)) else {
            return;
        };
        if lane.refused {
            return;
        }
        lane.discontinuity = true;
        lane.broken = lane.broken.saturating_add(1);
        match lane.broken {
            1 => {
                let line = format!("{} ({what}): {error}", lane.name());
                self.outputs.push_back(Output::Refused(line));
            }
            ..=MAX_BROKEN => {}
            count => self.refuse(place, format!("({what}): {count} times in a row: {error}")),
        }
    }

    /// A track plays no part any more, until a configuration of it can be read.
    fn refuse(&mut self, place: Option<usize>, why: String) {
        let Some(lane) = place.and_then(|place| self.lanes.get_mut(place)) else {
            return;
        };
        let was_ready = lane.is_ready();
        lane.refused = true;
        lane.discontinuity = true;
        let line = format!("{} {why}", lane.name());
        self.outputs.push_back(Output::Refused(line));
        if !self.started {
            self.forget(place);
        } else if was_ready && self.lanes.iter().any(Lane::is_ready) {
            self.outputs.push_back(Output::Tracks(self.tracks()));
        }
    }

    /// Drops the frames held for a lane: its track is another one by now.
    fn forget(&mut self, place: Option<usize>) {
        let (mut frames, mut bytes) = (0usize, 0usize);
        self.outputs.retain(|output| match output {
            Output::Frame(frame) if usize::try_from(frame.track.0).ok() == place => {
                frames = frames.saturating_add(1);
                bytes = bytes.saturating_add(frame.payload.len());
                false
            }
            _ => true,
        });
        self.held_frames = self.held_frames.saturating_sub(frames);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    fn push(&mut self, mut frame: Frame, place: Option<usize>) {
        if !self.started {
            self.held_frames = self.held_frames.saturating_add(1);
            self.held_bytes = self.held_bytes.saturating_add(frame.payload.len());
            // Until ids are given a frame says where its lane is.
            frame.track = TrackId(place.and_then(|place| u32::try_from(place).ok()).unwrap_or_default());
        }
        self.outputs.push_back(Output::Frame(frame));
    }

    /// Whether nothing is to be waited for any more.
    fn is_complete(&self, now: Instant) -> bool {
        if !self.lanes.iter().any(Lane::is_ready) {
            return false;
        }
        if self.has_waited(now) || self.held_frames >= MAX_HELD_FRAMES || self.held_bytes >= MAX_HELD_BYTES {
            return true;
        }
        let settled = |(media, number): (Media, u8)| {
            let mut lanes = self.lanes.iter();
            lanes.any(|lane| (lane.media, lane.number) == (media, number) && (lane.is_ready() || lane.refused))
        };
        // Configurations of further tracks stand before the first frame.
        self.held_frames > 0
            && match &self.announced {
                Some(announced) => announced.iter().all(|track| settled(*track)),
                None => settled((Media::Video, 0)) && settled((Media::Audio, 0)),
            }
    }

    fn has_waited(&self, now: Instant) -> bool {
        let by_stream = u128::try_from(self.last_time).is_ok_and(|time| time >= PATIENCE.as_millis());
        by_stream || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Gives ids, and lets go what was held.
    fn start(&mut self) {
        self.started = true;
        let mut places: Vec<usize> = (0..self.lanes.len()).collect();
        places.retain(|place| self.lanes.get(*place).is_some_and(Lane::is_ready));
        // Whatever comes first on the wire: a stream that is published again has the same ids.
        places.sort_by_key(|place| {
            self.lanes
                .get(*place)
                .map(|lane| (lane.media != Media::Video, lane.number))
        });
        for place in places {
            let Some(lane) = self.lanes.get_mut(place) else {
                continue;
            };
            lane.id = TrackId(self.ids);
            self.ids = self.ids.saturating_add(1);
        }
        for output in &mut self.outputs {
            if let Output::Frame(frame) = output {
                let place = usize::try_from(frame.track.0).unwrap_or(usize::MAX);
                frame.track = self.lanes.get(place).map_or(frame.track, |lane| lane.id);
            }
        }
        (self.held_frames, self.held_bytes) = (0, 0);
        self.outputs.push_front(Output::Tracks(self.tracks()));
    }

    /// In the order of their ids.
    fn tracks(&self) -> Tracks {
        let ready = self.lanes.iter().filter(|lane| lane.is_ready());
        let mut tracks: Vec<_> = ready.filter_map(Lane::track).collect();
        tracks.sort_by_key(|track| track.id);
        tracks.into()
    }
}

impl Default for Demuxer {
    fn default() -> Demuxer {
        Demuxer::new()
    }
}
