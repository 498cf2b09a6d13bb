//! Which ranges were recorded: files that join are one.

use std::{iter::Peekable, ops::Range, sync::Arc};

use url::form_urlencoded;

use super::{
    query::spell,
    range::{TOLERANCE, nanoseconds, select},
};
use crate::recording::Segment;

/// Bytes of an answer that are made at once.
const CHUNK: usize = 16 << 10;

/// A range that was recorded without a break, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The ranges of a path, oldest first. Made as they are asked for.
pub(super) struct Entries {
    segments: Arc<[Segment]>,
    wanted: Range<usize>,
    start: Option<i64>,
    end: Option<i64>,
}

impl Entries {
    /// Those between two moments.
    pub(super) fn new(segments: Arc<[Segment]>, start: Option<i64>, end: Option<i64>) -> Entries {
        let wanted = select(&segments, start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
        Entries {
            segments,
            wanted,
            start,
            end,
        }
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let mut last = self.segments.get(self.wanted.next()?)?;
            let mut entry = Entry {
                start: nanoseconds(last.start),
                end: nanoseconds(end(last)),
            };
            while let Some(next) = self.segments.get(self.wanted.start)
                && !self.wanted.is_empty()
                && follows(last, next)
            {
                self.wanted.next();
                entry.end = nanoseconds(end(next));
                last = next;
            }
            // The file in which the first moment is may end before it.
            if self.start.is_some_and(|start| entry.end < start) {
                continue;
            }
            entry.start = entry.start.max(self.start.unwrap_or(entry.start));
            entry.end = entry.end.min(self.end.unwrap_or(entry.end));
            return Some(entry);
        }
    }
}

fn end(segment: &Segment) -> u64 {
    segment.start.saturating_add(segment.duration)
}

/// Whether a file goes on where another ends.
fn follows(last: &Segment, next: &Segment) -> bool {
    let joins = match (&last.join, &next.join) {
        (Some(last), Some(next)) => last.stream == next.stream && last.number.checked_add(1) == Some(next.number),
        (None, None) => end(last).abs_diff(next.start) <= TOLERANCE,
        _ => false,
    };
    joins && last.format == next.format && last.tracks == next.tracks
}

/// The JSON of a list of entries, a piece at a time.
pub(super) struct Spelled<I: Iterator<Item = Entry>> {
    entries: Peekable<I>,
    /// What the links begin with: `http://host`.
    base: String,
    path: String,
    has_begun: bool,
    is_over: bool,
}

impl<I: Iterator<Item = Entry>> Spelled<I> {
    /// None when there are no entries.
    pub(super) fn new(entries: I, base: String, path: String) -> Option<Spelled<I>> {
        let mut entries = entries.peekable();
        entries.peek()?;
        Some(Spelled {
            entries,
            base,
            path,
            has_begun: false,
            is_over: false,
        })
    }

    fn spell(&self, entry: Entry) -> String {
        let start = spell(entry.start);
        // As many digits as the number needs, like MediaMTX.
        let duration = seconds(entry.end.saturating_sub(entry.start));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("duration", &duration)
            .append_pair("path", &self.path)
            .append_pair("start", &start)
            .finish();
        let url = serde_json::Value::from(format!("{}/get?{query}", self.base));
        format!("{{\"start\":\"{start}\",\"duration\":{duration},\"url\":{url}}}")
    }
}

impl<I: Iterator<Item = Entry>> Iterator for Spelled<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        let mut text = String::with_capacity(CHUNK);
        while text.len() < CHUNK {
            let Some(entry) = self.entries.next() else {
                self.is_over = true;
                text.push(']');
                break;
            };
            text.push(if std::mem::replace(&mut self.has_begun, true) {
                ','
            } else {
                '['
            });
            text += &self.spell(entry);
        }
        Some(text)
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanoseconds: i64) -> String {
    (nanoseconds as f64 / 1e9).to_string()
}

#[cfg(test)]
mod tests {
    use wasmtx_media::recording::Format;

    use super::*;
    use crate::recording::Join;

    const SECOND: u64 = 1_000_000;

    fn segment(start: u64, duration: u64, number: Option<u64>) -> Segment {
        Segment {
            start: start * SECOND,
            duration: duration * SECOND,
            size: 0,
            file: "".into(),
            format: Format::Fmp4,
            active: false,
            known: true,
            join: number.map(|number| Join {
                stream: [1; 16],
                number,
                dts: 0,
            }),
            tracks: 1,
        }
    }

    fn listed(segments: &[Segment], start: Option<i64>, end: Option<i64>) -> Vec<(i64, i64)> {
        let nanoseconds = |seconds: i64| seconds * 1_000_000_000;
        let entries = Entries::new(segments.into(), start.map(nanoseconds), end.map(nanoseconds));
        entries
            .map(|entry| (entry.start / 1_000_000_000, (entry.end - entry.start) / 1_000_000_000))
            .collect()
    }

    #[test]
    fn files_join_by_what_their_recorder_noted_or_else_by_time() {
        let numbered = [
            segment(100, 10, Some(0)),
            segment(115, 10, Some(1)),
            segment(125, 5, Some(3)),
        ];
        assert_eq!(listed(&numbered, None, None), [(100, 25), (125, 5)]);
        let silent = [segment(100, 10, None), segment(111, 9, None), segment(122, 5, None)];
        assert_eq!(listed(&silent, None, None), [(100, 20), (122, 5)]);
        let mixed = [segment(100, 10, None), segment(110, 9, Some(1))];
        assert_eq!(listed(&mixed, None, None), [(100, 10), (110, 9)]);
    }

    #[test]
    fn files_with_other_tracks_do_not_join() {
        let mut other = segment(110, 5, Some(1));
        other.tracks = 2;
        assert_eq!(
            listed(&[segment(100, 10, Some(0)), other], None, None),
            [(100, 10), (110, 5)]
        );
    }

    #[test]
    fn ranges_are_cut_to_the_moments_asked_for() {
        let files = [
            segment(100, 10, Some(0)),
            segment(110, 10, Some(1)),
            segment(200, 10, None),
        ];
        assert_eq!(listed(&files, Some(105), None), [(105, 15), (200, 10)]);
        assert_eq!(listed(&files, Some(105), Some(115)), [(105, 10)]);
        assert_eq!(listed(&files, Some(150), None), [(200, 10)]);
        assert_eq!(listed(&files, Some(150), Some(160)), []);
        assert_eq!(listed(&files, Some(300), None), []);
        assert_eq!(listed(&files, None, Some(50)), []);
        assert_eq!(listed(&[], None, None), []);
    }

    #[test]
    fn an_answer_is_made_piece_by_piece() {
        let files: Vec<_> = (0..1_000).map(|n| segment(1_700_000_000 + n * 100, 10, None)).collect();
        let entries = Entries::new(files.as_slice().into(), None, None);
        let pieces: Vec<_> = Spelled::new(entries, "http://a".into(), "x/y".into())
            .unwrap()
            .collect();
        assert!(pieces.len() > 4 && pieces.iter().all(|piece| piece.len() < CHUNK + 1_024));
        let all: serde_json::Value = serde_json::from_str(&pieces.concat()).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 1_000);
        assert_eq!(all[0]["duration"], 10);
        let url = all[0]["url"].as_str().unwrap();
        assert!(
            url.starts_with("http://a/get?duration=10&path=x%2Fy&start=2023-11-14T"),
            "{url}"
        );
    }
}
