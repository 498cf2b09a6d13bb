//! Which bytes of which files a range is made of.
//!
//! Only the files at the two ends of a range are walked, from their beginning to where the range begins or ends; those in
//! between are in it whole. So planning a day costs about what planning a minute costs.

use std::sync::Arc;

use wasmtx_hub::PathName;
use wasmtx_media::container::mp4::recorded::{Header, Sample, Track};

use super::{
    Error,
    file::{File, Part},
    library::Library,
    range::{Clock, Lead, Range, joins, nanoseconds, zero_of},
};
use crate::recording::Segment;

/// Files of one request.
pub(super) const MAX_FILES: usize = 16_384;
/// A plan of at most so many files holds on to them and not to the list of all files of the path, which is replaced whenever one
/// grows.
pub(super) const MAX_SHARED: usize = 512;
/// A file that ends this much before the range, in nanoseconds, is in it with all its tracks: none of them is so far ahead.
const MARGIN: i64 = 10_000_000_000;

/// A planned range.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) path: PathName,
    pub(super) segments: Arc<[Segment]>,
    pub(super) range: Range,
    pub(super) tracks: Vec<Track>,
    pub(super) files: Vec<Used>,
    pub(super) spans: Vec<Span>,
    pub(super) leads: Vec<Lead>,
}

/// A file of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Its place among the files of the plan.
    pub(super) segment: u32,
    /// When it begins in the range.
    pub(super) zero: i64,
    /// Bytes of it that counted when the plan was made.
    pub(super) size: u64,
}

/// Parts of a file that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The place of its file.
    pub(super) file: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) mode: Mode,
}

/// How parts go into a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As they are.
    Whole,
    /// With those of their samples that are in it.
    Cut,
    /// So, and all together as one part: players do not show what leads in, but only if it is in one with what it leads to.
    Joined,
}

/// What is to become of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is not in the range.
    Out,
    /// It is decoded and not shown: before the range.
    Lead,
    /// It is shown.
    Shown,
}

impl Plan {
    /// Finds out what is in `range` of these files, the first of which begins at `zero` if that is known. Tells
    /// [`Error::NotFound`] when nothing is.
    pub(super) fn of(
        library: &dyn Library,
        path: &PathName,
        segments: Arc<[Segment]>,
        wanted: std::ops::Range<usize>,
        zero: Option<i64>,
        range: Range,
    ) -> Result<Plan, Error> {
        if wanted.len() > MAX_FILES {
            return Err(Error::Parameter(
                "duration",
                format!("spans more than {MAX_FILES} files"),
            ));
        }
        let mut survey = Survey::new(range);
        let mut first: Option<(Header, i64)> = None;
        let mut previous: Option<(Header, u64)> = None;
        let mut known = zero;
        for index in wanted {
            let Some(segment) = segments.get(index) else { break };
            let file = match File::open(library, path, segment, segment.size) {
                Ok(file) => file,
                // Deleted since it was listed, or its header has not been written: nothing of it can be had.
                Err(Error::Gone) if previous.is_none() => continue,
                Err(Error::Gone) => break,
                Err(error) => return Err(error),
            };
            let zero = match (&first, &previous) {
                (Some((first, zero)), Some((previous, end))) => {
                    if !joins(previous, *end, &file.header, segment.start) {
                        break;
                    }
                    zero_of(*zero, first, &file.header, &range, segment.start)
                }
                _ => match known.take() {
                    Some(zero) => zero,
                    None => nanoseconds(segment.start).saturating_sub(range.origin),
                },
            };
            if zero >= range.to {
                break;
            }
            if first.is_none() {
                survey.tracks.clone_from(&file.header.tracks);
                first = Some((file.header.clone(), zero));
            }
            let used = Used {
                segment: u32::try_from(index).unwrap_or(u32::MAX),
                zero,
                size: segment.size,
            };
            let end = segment.start.saturating_add(segment.duration);
            if survey.file(&file, used, segment)? == Walk::Over {
                break;
            }
            previous = Some((file.header, end));
        }
        if survey.spans.is_empty() {
            return Err(Error::NotFound);
        }
        let Survey {
            tracks,
            mut files,
            spans,
            leads,
            ..
        } = survey;
        let mut segments = segments;
        if files.len() <= MAX_SHARED {
            let used = files
                .iter()
                .filter_map(|used| segments.get(usize::try_from(used.segment).ok()?));
            segments = used.cloned().collect();
            for (place, used) in (0..).zip(&mut files) {
                used.segment = place;
            }
        }
        Ok(Plan {
            path: path.clone(),
            segments,
            range,
            tracks,
            files,
            spans,
            leads,
        })
    }

    /// Opens a file of the plan again.
    pub(super) fn open(&self, library: &dyn Library, file: u32) -> Result<File, Error> {
        let used = usize::try_from(file)
            .ok()
            .and_then(|file| self.files.get(file))
            .ok_or(Error::Gone)?;
        let segment = usize::try_from(used.segment)
            .ok()
            .and_then(|index| self.segments.get(index));
        File::open(library, &self.path, segment.ok_or(Error::Gone)?, used.size)
    }

    /// The clocks of a file's tracks.
    pub(super) fn clocks(&self, file: u32, header: &Header) -> Vec<Clock> {
        let zero = usize::try_from(file)
            .ok()
            .and_then(|file| self.files.get(file))
            .map_or(0, |used| used.zero);
        Clock::of(header, zero, &self.range)
    }

    /// What becomes of a sample that is decoded at `dts`.
    pub(super) fn role(&self, sample: &Sample, dts: i64, clock: &Clock) -> Role {
        if dts >= clock.end {
            Role::Out
        } else if dts >= clock.begin {
            Role::Shown
        } else {
            let lead = self.leads.get(sample.track).and_then(|lead| lead.from);
            if lead.is_some_and(|from| dts >= from) {
                Role::Lead
            } else {
                Role::Out
            }
        }
    }
}

/// Whether the files that follow can have something of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    On,
    Over,
}

/// Where in the range a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has been shown.
    Before,
    /// Parts from here on are in it in part.
    Begins(u64),
    /// Parts from here on are in it whole.
    Whole(u64),
    /// Parts from here on are in it in part, as it ends.
    Ends(u64),
}

/// The state of a walk over all files of a range.
struct Survey {
    range: Range,
    tracks: Vec<Track>,
    files: Vec<Used>,
    spans: Vec<Span>,
    leads: Vec<Lead>,
    /// The range has begun in a file before.
    begun: bool,
}

/// What a walk knows of a track before something of it is shown.
#[derive(Clone, Copy, Debug, Default)]
struct Approach {
    /// The last keyframe: its part, and when it is decoded.
    sync: Option<(u64, i64)>,
    /// Not every sample is a keyframe.
    depends: bool,
    /// The first sample that is shown: when, and whether it is a keyframe.
    first: Option<(i64, bool)>,
}

impl Approach {
    /// Whether it is settled how the track leads in.
    fn is_settled(&self) -> bool {
        self.first.is_some() || self.sync.is_none() || !self.depends
    }

    /// The keyframe to begin with, if the first sample that is shown needs one.
    fn lead(&self) -> Option<(u64, i64)> {
        // Where nothing is shown, nothing leads to it; a file that follows begins with a keyframe.
        self.first.filter(|(_, is_sync)| !is_sync).and(self.sync)
    }
}

/// What a part has of the range.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    before: bool,
    shown: bool,
    beyond: bool,
}

impl Survey {
    fn new(range: Range) -> Survey {
        Survey {
            range,
            tracks: Vec::new(),
            files: Vec::new(),
            spans: Vec::new(),
            leads: Vec::new(),
            begun: false,
        }
    }

    fn file(&mut self, file: &File, used: Used, segment: &Segment) -> Result<Walk, Error> {
        let place = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let lasts = nanoseconds(segment.duration);
        let ends = used.zero.saturating_add(lasts).saturating_add(MARGIN);
        let begins = file.header.len;
        if self.begun && segment.known && !segment.active && ends <= self.range.to {
            self.files.push(used);
            self.span(place, begins, file.end.max(begins), Mode::Whole);
            return Ok(Walk::On);
        }
        let clocks = Clock::of(&file.header, used.zero, &self.range);
        let mut approaches = vec![Approach::default(); file.header.tracks.len()];
        let (mut phase, mut at) = if self.begun {
            (Phase::Whole(begins), begins)
        } else {
            let lead_in = self.range.from.saturating_sub(used.zero).saturating_sub(MARGIN);
            (Phase::Before, file.near(lead_in)?)
        };
        let mut walk = Walk::On;
        while let Some(part) = file.part(at)? {
            let seen = look(file, &part, &clocks, &mut approaches)?;
            if !seen.shown && seen.beyond {
                walk = Walk::Over;
                break;
            }
            let next = match phase {
                Phase::Before if seen.shown => Phase::Begins(at),
                Phase::Begins(_) if !seen.before && !seen.beyond && approaches.iter().all(Approach::is_settled) => {
                    Phase::Whole(at)
                }
                Phase::Whole(_) if seen.before || seen.beyond => Phase::Ends(at),
                phase => phase,
            };
            if next != phase {
                self.leave(place, phase, at, &approaches);
                phase = next;
            }
            at = part.end;
        }
        self.leave(place, phase, at, &approaches);
        if phase != Phase::Before {
            self.begun = true;
        }
        if self.spans.last().is_some_and(|span| span.file == place) {
            self.files.push(used);
        }
        Ok(walk)
    }

    /// What was seen since a phase began becomes a span.
    fn leave(&mut self, file: u32, phase: Phase, at: u64, approaches: &[Approach]) {
        match phase {
            Phase::Before => {}
            Phase::Begins(from) => {
                let leads = approaches.iter().filter_map(Approach::lead).map(|(part, _)| part);
                let from = leads.fold(from, u64::min);
                let lead = |approach: &Approach| Lead {
                    from: approach.lead().map(|(_, dts)| dts),
                    first: approach.first.map_or(0, |(dts, _)| dts).max(0),
                };
                self.leads = approaches.iter().map(lead).collect();
                let leads = self.leads.iter().any(|lead| lead.from.is_some());
                self.span(file, from, at, if leads { Mode::Joined } else { Mode::Cut });
            }
            Phase::Whole(from) => self.span(file, from, at, Mode::Whole),
            Phase::Ends(from) => self.span(file, from, at, Mode::Cut),
        }
    }

    fn span(&mut self, file: u32, from: u64, to: u64, mode: Mode) {
        if to > from {
            self.spans.push(Span { file, from, to, mode });
        }
    }
}

fn look(file: &File, part: &Part, clocks: &[Clock], approaches: &mut [Approach]) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    file.samples(part, |sample| {
        let (Some(clock), Some(approach)) = (clocks.get(sample.track), approaches.get_mut(sample.track)) else {
            return;
        };
        let dts = clock.of_sample(sample);
        approach.depends |= !sample.is_sync();
        if dts < clock.begin {
            seen.before = true;
            if sample.is_sync() {
                approach.sync = Some((part.start, dts));
            }
        } else if dts < clock.end {
            seen.shown = true;
            approach.first.get_or_insert((dts, sample.is_sync()));
        } else {
            seen.beyond = true;
        }
    })?;
    Ok(seen)
}
