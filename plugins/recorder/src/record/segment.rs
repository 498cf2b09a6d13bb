//! One file, from its first frame to its end.
//!
//! Frames wait until the first part is due; then it is known which tracks flow and when the file begins, and it is created, named and begun. A file
//! of which nothing is on the disk yet keeps what it has: it may be tried again.

use bytes::{Bytes, BytesMut};
use wasmtx_media::{
    Error, Track,
    container::mp4::{self, Body, Piece, Sample},
    recording::Format,
};

use super::{
    Server, Settings, Told, Trouble,
    lane::Lane,
    muxer::{Muxer, Part},
    name,
};

/// How far before its first frame a file may begin, for frames of other tracks that come after it and are older. Microseconds.
pub(super) const MAX_LEAD: i64 = 1_000_000;
/// Frames of a part, and those that the server keeps for it; with one more batch they are what it grants.
const MAX_FRAMES: usize = 16_384;
const MAX_HELD: usize = 3_500;
/// Their bytes, in the server and here.
const MAX_THERE: usize = 64 << 20;
const MAX_HERE: usize = 8 << 20;
/// Bytes that are collected before they are given to the server.
const PIECE: usize = 64 << 10;

/// Which file of which recording.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) stream: [u8; 16],
    pub(super) number: u64,
}

impl Place {
    /// Of the file that goes on where this one ends.
    pub(super) fn next(self) -> Place {
        Place {
            number: self.number.saturating_add(1),
            ..self
        }
    }
}

/// A frame on its way into a file.
pub(super) struct Entry<P> {
    /// Position of its track among the lanes.
    pub(super) lane: usize,
    /// Decoding time in microseconds.
    pub(super) micros: i64,
    /// What the frame before it lasted, in microseconds, and so does this one, about.
    pub(super) step: i64,
    pub(super) wall: u64,
    pub(super) sample: Sample<P>,
}

pub(super) struct Segment<S: Server> {
    place: Place,
    /// Decoding time and wall clock of its beginning, microseconds. Settled when it begins: frames of other tracks that come later may be older.
    start: i64,
    wall: u64,
    expected: i64,
    stage: Stage<S::Payload>,
    header: Bytes,
    /// Made and not on the disk.
    parts: Vec<Part<S::Payload>>,
    file: Option<(S::File, String)>,
    /// Of the newest frame: what was made before it came ends there.
    newest: (i64, u64),
    /// The wall clock of the frame before it: the newest one waits for how long it lasts.
    before: u64,
    /// When the last frame is over, about.
    end: i64,
    /// Where the parts that were made end, and those that are on the disk.
    made: (i64, u64),
    written: i64,
    /// Where the last part that was made ends.
    part: i64,
    waiting: Waiting,
    /// The monotonic clock when the oldest frame that waits came.
    pub(super) since: Option<u64>,
}

/// What waits to be written.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    frames: usize,
    /// Frames that the server keeps for us.
    held: usize,
    /// Bytes that it keeps, and bytes here.
    there: usize,
    here: usize,
}

enum Stage<P> {
    Early(Vec<Entry<P>>),
    Running(Muxer<P>),
    Over,
}

impl<S: Server> Segment<S> {
    /// A file that begins with a frame of this time.
    pub(super) fn new(place: Place, start: i64, wall: u64) -> Segment<S> {
        Segment {
            place,
            start,
            wall,
            expected: i64::MAX,
            stage: Stage::Early(Vec::new()),
            header: Bytes::new(),
            parts: Vec::new(),
            file: None,
            newest: (start, wall),
            before: wall,
            end: start,
            made: (start, wall),
            written: start,
            part: start,
            waiting: Waiting::default(),
            since: None,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// A frame of this time is still to come.
    pub(super) fn expect(&mut self, micros: i64) {
        self.expected = self.expected.min(micros);
    }

    /// Before this time nothing can stand in it any more.
    pub(super) fn floor(&self) -> i64 {
        match self.stage {
            Stage::Early(_) => i64::MIN,
            _ => self.start,
        }
    }

    /// Whether a part of it is on the disk.
    pub(super) fn is_begun(&self) -> bool {
        self.file.is_some()
    }

    /// How long the part at hand is when a frame of this time follows.
    pub(super) fn lasts(&self, micros: i64) -> i64 {
        micros.saturating_sub(self.part)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.there.saturating_add(self.waiting.here)
    }

    /// Whether no more may wait.
    pub(super) fn is_full(&self, format: Format) -> bool {
        let Waiting {
            frames,
            held,
            there,
            here,
        } = self.waiting;
        // What is there will be copied.
        let here = if format == Format::MpegTs {
            here.saturating_add(there)
        } else {
            here
        };
        frames >= MAX_FRAMES || held >= MAX_HELD || there >= MAX_THERE || here >= MAX_HERE
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// The part is as large as parts may be.
    pub(super) fn push(&mut self, server: &S, entry: Entry<S::Payload>, at: u64) -> Result<(), Error> {
        let (micros, wall, end) = (entry.micros, entry.wall, entry.micros.saturating_add(entry.step));
        let size = entry.sample.payload.size();
        let copied = matches!(self.stage, Stage::Running(Muxer::MpegTs(..)));
        let here = copied || server.here(&entry.sample.payload).is_some();
        match &mut self.stage {
            Stage::Early(early) => early.push(entry),
            Stage::Running(muxer) => muxer.push(entry.sample, |payload| server.bytes(payload))?,
            Stage::Over => return Ok(()),
        }
        self.since.get_or_insert(at);
        let waiting = &mut self.waiting;
        waiting.frames += 1;
        waiting.held += usize::from(!here);
        let bytes = if here { &mut waiting.here } else { &mut waiting.there };
        *bytes = bytes.saturating_add(size);
        self.before = self.newest.1;
        self.newest = (self.newest.0.max(micros), wall);
        self.end = self.end.max(end);
        Ok(())
    }

    /// Whether it has not begun, for want of the first frame of some track.
    pub(super) fn lacks(&self, lanes: &[Lane], format: Format) -> bool {
        let Stage::Early(early) = &self.stage else { return false };
        let missing = |(place, lane): (usize, &Lane)| {
            needs_first(lane, format) && !lane.late && !early.iter().any(|entry| entry.lane == place)
        };
        lanes.iter().enumerate().any(missing)
    }

    /// Makes a part of what waits.
    ///
    /// # Errors
    /// There is no file to be made of this.
    pub(super) fn gather(&mut self, server: &S, settings: &Settings, lanes: &mut [Lane]) -> Result<(), Error> {
        self.begin(server, settings.format, lanes)?;
        let Stage::Running(muxer) = &mut self.stage else {
            return Ok(());
        };
        if let Some(part) = muxer.part() {
            self.parts.push(part);
            self.made = (self.newest.0, self.before);
        }
        self.part = self.newest.0;
        Ok(())
    }

    /// Decides which tracks the file has and when it begins, if that is still open.
    fn begin(&mut self, server: &S, format: Format, lanes: &mut [Lane]) -> Result<(), Error> {
        let Stage::Early(early) = &mut self.stage else {
            return Ok(());
        };
        let early = std::mem::take(early);
        self.stage = Stage::Over;
        let floor = self.start.saturating_sub(MAX_LEAD);
        let Some(first) = early
            .iter()
            .filter(|entry| entry.micros >= floor)
            .min_by_key(|entry| entry.micros)
        else {
            return Ok(());
        };
        let start = if self.expected < floor {
            first.micros
        } else {
            first.micros.min(self.expected)
        };
        let lead = first.micros.saturating_sub(start);
        let wall = if first.wall == 0 { self.wall } else { first.wall };
        (self.start, self.wall) = (start, wall.saturating_sub(lead.unsigned_abs()));
        for (place, lane) in lanes.iter_mut().enumerate() {
            let flows = || early.iter().any(|entry| entry.lane == place);
            lane.included = lane.is_described() && (!needs_first(lane, format) || flows());
        }
        let tracks: Vec<Track> = lanes
            .iter()
            .filter(|lane| lane.included)
            .map(|lane| lane.track.clone())
            .collect();
        let dts = lanes.get(first.lane).map_or(0, |lane| lane.nanos(first.sample.dts));
        let dts = dts.saturating_sub(lead.saturating_mul(1_000));
        let segment = mp4::Segment {
            stream: self.place.stream,
            number: self.place.number,
            dts,
            wall: i64::try_from(self.wall.saturating_mul(1_000)).unwrap_or(i64::MAX),
        };
        let mut muxer = Muxer::new(format, &tracks, segment)?;
        for (place, lane) in lanes.iter().enumerate() {
            // To the tick, where a frame is at the beginning.
            let exact = early
                .iter()
                .find(|entry| entry.lane == place && entry.micros == self.start);
            let zero = exact.map_or_else(|| lane.ticks(self.start), |entry| entry.sample.dts);
            muxer.begin(lane.track.id, zero);
        }
        for entry in early {
            let zero = lanes.get(entry.lane).map_or(0, |lane| lane.ticks(self.start));
            let dts = entry.sample.dts.max(zero);
            muxer.push(Sample { dts, ..entry.sample }, |payload| server.bytes(payload))?;
        }
        self.header = muxer.header()?;
        self.stage = Stage::Running(muxer);
        Ok(())
    }

    /// Brings the parts that were made to the disk, if there are some; `last`: the file ends with them.
    ///
    /// # Errors
    /// The disk does not take them. What was on it before is whole; a file of which nothing is there is as if it had never been begun.
    pub(super) fn write(&mut self, server: &S, settings: &Settings, path: &str, last: bool) -> Result<bool, Trouble> {
        if self.parts.is_empty() && !(last && self.file.is_some()) {
            return Ok(false);
        }
        let fresh = self.file.is_none();
        let (mut file, name) = match self.file.take() {
            Some(open) => open,
            None => {
                let name = name::free(server, settings, path, self.wall)?;
                (server.create(&name)?, name)
            }
        };
        let header = if fresh { &self.header[..] } else { &[] };
        let mut written = put(server, &mut file, header, &self.parts);
        if !last {
            written = written.and_then(|bytes| server.commit(&mut file).map(|()| bytes));
        }
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(trouble) if fresh => {
                drop(file);
                server.remove(&name);
                return Err(trouble);
            }
            Err(trouble) => {
                // It is over, with what was committed.
                let _ = server.finish(file);
                self.tell_done(server, &name);
                return Err(trouble);
            }
        };
        if fresh {
            server.tell(Told::Started {
                file: &name,
                start: self.wall,
            });
        }
        if !last {
            self.file = Some((file, name));
            self.settle(server, bytes);
            return Ok(bytes > 0);
        }
        let finished = server.finish(file);
        if finished.is_ok() {
            self.settle(server, bytes);
        }
        self.tell_done(server, &name);
        finished.map(|()| bytes > 0)
    }

    /// What was made is on the disk.
    fn settle(&mut self, server: &S, bytes: u64) {
        self.written = self.made.0;
        self.parts.clear();
        (self.waiting, self.since) = (Waiting::default(), None);
        let wall = self.made.1;
        server.tell(Told::Part { bytes, wall });
    }

    /// The last part of the file, if there is something to write. `until` is the track whose next frame is in the next file, and when it is decoded.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn close(
        mut self,
        server: &S,
        settings: &Settings,
        path: &str,
        lanes: &mut [Lane],
        until: Option<(usize, i64)>,
    ) -> Result<bool, Trouble> {
        let begun = self.begin(server, settings.format, lanes);
        let next = until.and_then(|(place, dts)| lanes.get(place).map(|lane| (lane.track.id, dts, lane.micros(dts))));
        if let (Ok(()), Stage::Running(mut muxer)) = (begun, std::mem::replace(&mut self.stage, Stage::Over)) {
            if let Some((track, dts, _)) = next {
                muxer.until(track, dts);
            }
            self.parts.extend(muxer.finish());
        }
        let end = next.map_or(self.end, |(.., micros)| micros);
        self.made = (end.max(self.newest.0), self.newest.1);
        self.write(server, settings, path, true)
    }

    fn tell_done(&self, server: &S, name: &str) {
        let duration = u64::try_from(self.written.saturating_sub(self.start)).unwrap_or_default();
        server.tell(Told::Done {
            file: name,
            start: self.wall,
            duration,
        });
    }
}

/// Whether a file cannot begin before the first frame of a track, if it is to have it.
fn needs_first(lane: &Lane, format: Format) -> bool {
    format == Format::Fmp4 && lane.needs_first()
}

/// Appends; answers how much that was.
fn put<S: Server>(server: &S, file: &mut S::File, header: &[u8], parts: &[Part<S::Payload>]) -> Result<u64, Trouble> {
    let mut total = 0u64;
    // Small pieces together: each one given away costs as much as copying some thousand bytes.
    let mut collected = BytesMut::from(header);
    for piece in parts.iter().flat_map(|part| &part.pieces) {
        let here = match piece {
            Piece::Inline(bytes) => Some(&bytes[..]),
            Piece::Payload(payload) => server.here(payload),
        };
        match (here, piece) {
            (Some(bytes), _) => collected.extend_from_slice(bytes),
            (None, Piece::Payload(payload)) => {
                total = total.saturating_add(spill(server, file, &mut collected)?);
                server.append_payload(file, payload)?;
                total = total.saturating_add(payload.size() as u64);
            }
            (None, Piece::Inline(_)) => {}
        }
        if collected.len() >= PIECE {
            total = total.saturating_add(spill(server, file, &mut collected)?);
        }
    }
    total = total.saturating_add(spill(server, file, &mut collected)?);
    Ok(total)
}

fn spill<S: Server>(server: &S, file: &mut S::File, collected: &mut BytesMut) -> Result<u64, Trouble> {
    if !collected.is_empty() {
        server.append(file, collected)?;
    }
    let spilt = collected.len() as u64;
    collected.clear();
    Ok(spilt)
}
