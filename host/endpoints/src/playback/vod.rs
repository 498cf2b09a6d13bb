//! A range as an HLS playlist (RFC 8216). Its segments begin with keyframes, and their names say all that is needed to make
//! them: nothing is kept between requests.
//!
//! ```text
//! /vod/<path>/index.m3u8?start=&duration=
//! /vod/<path>/<group>/init.mp4
//! /vod/<path>/<group>/<file>_<zero>/<from>-<to>.m4s
//! ```
//!
//! A group is files that join, named by the microsecond in which the first begins; so is the file in which a segment begins.
//! `zero` is when that one begins in the group, `from` and `to` what the segment has of it, in nanoseconds.

use std::sync::Arc;

use wasmtx_hub::PathName;
use wasmtx_media::container::mp4::recorded::Header;

use super::{
    Error,
    file::File,
    library::Library,
    list::seconds,
    plan::MAX_FILES,
    query::spell,
    range::{Clock, Range, joins, nanoseconds, of_ticks, zero_of},
};
use crate::recording::Segment;

/// A segment is at least as long, if there are keyframes enough: nanoseconds.
const SEGMENT: i64 = 4_000_000_000;
/// How far apart in a file tracks may end, nanoseconds.
const SKEW: i64 = 2_000_000_000;
/// The longest range of one playlist, nanoseconds: a week.
const LONGEST: i64 = 7 * 86_400 * 1_000_000_000;
/// Bytes of a playlist that are made at once.
const CHUNK: usize = 16 << 10;

/// One segment of a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// When its group begins, microseconds since 1970.
    pub(super) group: u64,
    /// When the file begins in which it begins, microseconds since 1970.
    pub(super) file: u64,
    /// When that file begins in the group.
    pub(super) zero: i64,
    /// What it has of the group.
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The segments of a range, found one by one.
pub(super) struct Cuts {
    library: Arc<dyn Library>,
    path: PathName,
    segments: Arc<[Segment]>,
    wanted: std::ops::Range<usize>,
    range: Range,
    group: Option<Group>,
    walk: Option<Walk>,
    /// The file that is walked, or was: when it begins, and when in its group.
    previous: Option<(u64, i64)>,
    is_over: bool,
}

/// Files that join.
struct Group {
    start: u64,
    first: Header,
    /// The last file so far, and when it ends.
    last: (Header, u64),
    /// The one before: when it begins, and when in the group.
    before: Option<(u64, i64)>,
    /// Where the next segment begins, and in which file.
    open: Option<(u64, i64, i64)>,
    /// When the last sample ends, nanoseconds since the beginning of the group.
    end: i64,
}

/// A file that is walked.
struct Walk {
    file: File,
    start: u64,
    zero: i64,
    clocks: Vec<Clock>,
    at: u64,
    /// The track whose samples say where segments begin.
    leader: usize,
}

impl Cuts {
    /// Those of a range of a path.
    pub(super) fn new(
        library: Arc<dyn Library>,
        path: &PathName,
        segments: Arc<[Segment]>,
        range: Range,
    ) -> Result<Cuts, Error> {
        let wanted = range.select(&segments);
        if range.to > LONGEST {
            return Err(Error::Parameter("duration", "is more than a week".to_owned()));
        }
        if wanted.len() > MAX_FILES {
            return Err(Error::Parameter(
                "duration",
                format!("spans more than {MAX_FILES} files"),
            ));
        }
        Ok(Cuts {
            library,
            path: path.clone(),
            segments,
            wanted,
            range,
            group: None,
            walk: None,
            previous: None,
            is_over: false,
        })
    }

    /// The next one. Waits for the disk.
    pub(super) fn next(&mut self) -> Result<Option<Cut>, Error> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            let found = if self.walk.is_some() {
                self.step()?
            } else {
                self.open()?
            };
            if let Some(cut) = found.filter(|cut| cut.to > cut.from) {
                return Ok(Some(cut));
            }
        }
    }

    /// Goes on with the next file. Answers with the last segment of a group that ends.
    fn open(&mut self) -> Result<Option<Cut>, Error> {
        let Some(index) = self.wanted.next() else {
            self.is_over = true;
            return Ok(self.end_group());
        };
        let Some(segment) = self.segments.get(index).cloned() else {
            return Ok(None);
        };
        let file = match File::open(&*self.library, &self.path, &segment, segment.size) {
            Ok(file) => file,
            Err(Error::Gone) => return Ok(self.end_group()),
            Err(error) => return Err(error),
        };
        let mut ended = None;
        let mut zero = 0;
        match &mut self.group {
            Some(group) if joins(&group.last.0, group.last.1, &file.header, segment.start) => {
                let in_group = Range {
                    origin: nanoseconds(group.start),
                    ..self.range
                };
                zero = zero_of(0, &group.first, &file.header, &in_group, segment.start);
            }
            _ => {
                ended = self.end_group();
                self.group = Some(Group {
                    start: segment.start,
                    first: file.header.clone(),
                    last: (file.header.clone(), 0),
                    before: None,
                    open: None,
                    end: 0,
                });
            }
        }
        let before = self.previous.replace((segment.start, zero));
        if let Some(group) = &mut self.group {
            group.before = before.filter(|_| zero > 0);
            group.last = (file.header.clone(), segment.start.saturating_add(segment.duration));
        }
        let tracks = &file.header.tracks;
        let everything = Range {
            origin: 0,
            from: 0,
            to: i64::MAX,
        };
        let begins = self.range.origin.saturating_add(self.range.from);
        let lead_in = begins.saturating_sub(nanoseconds(segment.start)).saturating_sub(SKEW);
        self.walk = Some(Walk {
            start: segment.start,
            zero,
            clocks: Clock::of(&file.header, zero, &everything),
            at: file.near(lead_in)?,
            leader: tracks.iter().position(|track| track.is_video()).unwrap_or_default(),
            file,
        });
        Ok(ended)
    }

    fn end_group(&mut self) -> Option<Cut> {
        let group = self.group.take()?;
        let (file, zero, from) = group.open?;
        let to = group.end.min(self.moment(group.start, self.range.to));
        Some(Cut {
            group: group.start,
            file,
            zero,
            from,
            to,
        })
    }

    /// A moment of the range in the time of a group.
    fn moment(&self, group: u64, moment: i64) -> i64 {
        self.range
            .origin
            .saturating_add(moment)
            .saturating_sub(nanoseconds(group))
    }

    /// Walks on by one part. A part holds one beginning of a segment at most that matters: they are further apart.
    fn step(&mut self) -> Result<Option<Cut>, Error> {
        let (Some(mut walk), Some(mut group)) = (self.walk.take(), self.group.take()) else {
            return Ok(None);
        };
        let Some(part) = walk.file.part(walk.at)? else {
            self.group = Some(group);
            return Ok(None);
        };
        let (begin, end) = (
            self.moment(group.start, self.range.from),
            self.moment(group.start, self.range.to),
        );
        let mut found: Option<Cut> = None;
        let mut is_over = false;
        let before = group.before;
        let place = |moment: i64| {
            // Tracks do not end together: what the file before still has belongs into this segment, too.
            let is_near = moment.saturating_sub(walk.zero) < SKEW;
            before.filter(|_| is_near).unwrap_or((walk.start, walk.zero))
        };
        walk.file.samples(&part, |sample| {
            let (Some(track), Some(clock)) = (walk.file.header.tracks.get(sample.track), walk.clocks.get(sample.track))
            else {
                return;
            };
            let dts = clock.of_sample(sample);
            let moment = of_ticks(dts, track.clock_rate);
            let ends = of_ticks(dts.saturating_add(sample.duration.into()), track.clock_rate);
            group.end = group.end.max(ends.saturating_add(1));
            if sample.track != walk.leader || !sample.is_sync() || is_over {
                return;
            }
            match group.open {
                // Nothing is shown yet: a later keyframe is a better place to begin.
                Some(_) if moment <= begin => {
                    let (file, zero) = place(moment);
                    group.open = Some((file, zero, moment));
                }
                // Sound that is in front of the first picture of all is not left out.
                None => {
                    group.open = Some((
                        walk.start,
                        walk.zero,
                        if moment > begin { 0.max(begin) } else { moment },
                    ))
                }
                Some(_) if moment >= end => is_over = true,
                Some((file, zero, from)) if found.is_none() && moment.saturating_sub(from) >= SEGMENT => {
                    let (next_file, next_zero) = place(moment);
                    group.open = Some((next_file, next_zero, moment));
                    found = Some(Cut {
                        group: group.start,
                        file,
                        zero,
                        from,
                        to: moment,
                    });
                }
                Some(_) => {}
            }
        })?;
        walk.at = part.end;
        self.group = Some(group);
        if is_over {
            // The segment that is open is the last.
            self.wanted = 0..0;
        } else {
            self.walk = Some(walk);
        }
        Ok(found)
    }
}

/// A playlist, a piece at a time.
pub(super) struct Playlist {
    cuts: Cuts,
    /// What proves who asks, for the links.
    proof: String,
    head: Option<String>,
    group: Option<u64>,
    is_over: bool,
}

impl Playlist {
    /// Looks at the whole range once: a playlist begins with the length of its longest segment.
    pub(super) fn new(
        library: &Arc<dyn Library>,
        path: &PathName,
        segments: &Arc<[Segment]>,
        range: Range,
        proof: String,
    ) -> Result<Playlist, Error> {
        let mut first: Option<Cut> = None;
        let mut longest = 0;
        let mut cuts = Cuts::new(library.clone(), path, segments.clone(), range)?;
        while let Some(cut) = cuts.next()? {
            first.get_or_insert(cut);
            longest = longest.max(cut.to.saturating_sub(cut.from));
        }
        let first = first.ok_or(Error::NotFound)?;
        let whole = (u64::try_from(longest).unwrap_or_default())
            .div_ceil(1_000_000_000)
            .max(1);
        let begins = nanoseconds(first.group).saturating_add(first.from);
        let mut head = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{whole}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        );
        let early = range.origin.saturating_add(range.from).saturating_sub(begins);
        if early > 0 {
            // The first segment begins with a keyframe, before what was asked for.
            head += &format!("#EXT-X-START:TIME-OFFSET={},PRECISE=YES\n", seconds(early));
        }
        Ok(Playlist {
            cuts: Cuts::new(library.clone(), path, segments.clone(), range)?,
            proof,
            head: Some(head),
            group: None,
            is_over: false,
        })
    }

    /// The next lines; none at the end. Waits for the disk.
    pub(super) fn next(&mut self) -> Result<Option<String>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let mut text = self.head.take().unwrap_or_default();
        while text.len() < CHUNK {
            let Some(cut) = self.cuts.next()? else {
                self.is_over = true;
                text += "#EXT-X-ENDLIST\n";
                break;
            };
            self.spell(&cut, &mut text);
        }
        Ok(Some(text))
    }

    fn spell(&mut self, cut: &Cut, text: &mut String) {
        let Cut {
            group,
            file,
            zero,
            from,
            to,
        } = *cut;
        let query = if self.proof.is_empty() {
            String::new()
        } else {
            format!("?{}", self.proof)
        };
        if self.group != Some(group) {
            if self.group.is_some() {
                *text += "#EXT-X-DISCONTINUITY\n";
            }
            self.group = Some(group);
            *text += &format!("#EXT-X-MAP:URI=\"{group}/init.mp4{query}\"\n");
        }
        let moment = spell(nanoseconds(group).saturating_add(from));
        let lasts = seconds(to.saturating_sub(from));
        *text += &format!("#EXT-X-PROGRAM-DATE-TIME:{moment}\n#EXTINF:{lasts},\n");
        *text += &format!("{group}/{file}_{zero}/{from}-{to}.m4s{query}\n");
    }
}

/// What a request below `/vod/` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The playlist.
    Playlist,
    /// The header of a group.
    Header(u64),
    /// A segment.
    Segment(Cut),
}

/// Path and rest of a request, from the end: a path may have any number of segments.
pub(super) fn route(name: &str) -> Option<(&str, Asked)> {
    let (front, last) = name.rsplit_once('/')?;
    if last == "index.m3u8" {
        return Some((front, Asked::Playlist));
    }
    let (front, inner) = front.rsplit_once('/')?;
    if last == "init.mp4" {
        return Some((front, Asked::Header(number(inner)?)));
    }
    let (path, group) = front.rsplit_once('/')?;
    let (file, zero) = inner.split_once('_')?;
    let (from, to) = last.strip_suffix(".m4s")?.split_once('-')?;
    let signed = |text| number(text).and_then(|number| i64::try_from(number).ok());
    let cut = Cut {
        group: number(group)?,
        file: number(file)?,
        zero: signed(zero)?,
        from: signed(from)?,
        to: signed(to)?,
    };
    (cut.to > cut.from).then_some((path, Asked::Segment(cut)))
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_asked_for() {
        assert_eq!(route("cam1/index.m3u8"), Some(("cam1", Asked::Playlist)));
        assert_eq!(route("a/b/17/init.mp4"), Some(("a/b", Asked::Header(17))));
        let cut = Cut {
            group: 1,
            file: 2,
            zero: 3,
            from: 4,
            to: 5,
        };
        assert_eq!(route("a/b/1/2_3/4-5.m4s"), Some(("a/b", Asked::Segment(cut))));
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "index.m3u8",
            "a",
            "a/b",
            "a/init.mp4",
            "a/x/init.mp4",
            "a/1/2_3/5-4.m4s",
            "a/1/2_3/4-4.m4s",
            "a/1/2_3/4-5.mp4",
            "a/1/2_-3/4-5.m4s",
            "a/1/2_3/-4-5.m4s",
            "a/1/2_3/4-99999999999999999999.m4s",
            "1/2_3/4-5.m4s",
            "a/+1/2_3/4-5.m4s",
        ] {
            assert_eq!(route(name), None, "{name}");
        }
    }
}
