//! What nobody sensible sends, and files that nobody sensible writes: nothing panics, and nothing is promised that is not sent.

use std::fs;

use axum::http::{HeaderMap, header};

use super::{
    super::{
        document::{Document, Form, Shelf},
        partial::Wanted,
        plan::Plan,
        query::{self, Query},
        range::{Range, nanoseconds},
        sending::Sending,
        vod,
    },
    *,
};

/// Numbers that look random and are the same every time (a linear congruential generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn strange_words_are_no_times_durations_ranges_or_names() {
    let pieces = [
        "2026-01-01T00:00:00",
        "Z",
        "+99:99",
        "-00:00",
        ".",
        "999999999999",
        "e",
        "-",
        "h",
        "m",
        "s",
        "µs",
        "1",
        "0x",
        "nan",
        "/",
        "..",
        "_",
        "index.m3u8",
        "init.mp4",
        ".m4s",
        "%00",
        "\u{0}",
        "bytes=",
        ",",
        "é",
        "18446744073709551615",
        "9223372036854775807",
        " ",
    ];
    let mut dice = Dice(1);
    for _ in 0..50_000 {
        let words: String = (0..dice.below(8)).map(|_| pieces[dice.below(pieces.len())]).collect();
        let _ = query::time(&words).inspect(|time| assert!(*time >= 0));
        let _ = query::duration(&words).inspect(|duration| assert!(*duration > 0));
        if let Some((path, vod::Asked::Segment(cut))) = vod::route(&words) {
            assert!(cut.to > cut.from && words.starts_with(path));
        }
        let query = Query::new(&words);
        let _ = (query.range(), query.proof());
        let mut headers = HeaderMap::new();
        if let Ok(value) = words.parse() {
            headers.insert(header::RANGE, value);
        }
        if let Wanted::Bytes(bytes) = Wanted::of(&headers, 1_000, "\"t\"") {
            assert!(bytes.start < bytes.end && bytes.end <= 1_000);
        }
    }
}

#[test]
fn files_with_wrong_bytes_are_refused_or_sent_as_long_as_promised() {
    let recording = Recording::new("mangled", &[2, 2]);
    let folder: Arc<dyn Library> = Arc::new(Folder::new(&recording.root));
    let path = PathName::new("cam").unwrap();
    let segments = folder.segments(&path, None).unwrap().unwrap();
    let whole = fs::read(recording.file(0)).unwrap();
    let header = Header::read(&whole).unwrap().len as usize;
    let mut dice = Dice(7);
    let (mut sent, mut refused) = (0, 0);
    for round in 0..200 {
        let mut file = whole.clone();
        for _ in 0..=dice.below(3) {
            // Where lists of samples are, mostly.
            let at = if round % 4 == 0 {
                dice.below(header)
            } else {
                header + dice.below(1_200)
            };
            file[at] = [0, 1, 0x7f, 0x80, 0xff, dice.below(256) as u8][dice.below(6)];
        }
        file.truncate(whole.len() - dice.below(2) * dice.below(whole.len() / 2));
        fs::write(recording.file(0), &file).unwrap();
        let range = Range::new(nanoseconds(NEW_YEAR) + 700_000_000, 2_500_000_000);
        for form in [Form::Fragments, Form::Parts, Form::Movie] {
            let planned = Plan::of(&*folder, &path, segments.clone(), 0..2, None, range)
                .and_then(|plan| Document::new(&*folder, plan, form));
            let Ok(document) = planned else {
                refused += 1;
                continue;
            };
            let len = document.len;
            let shelf = Shelf {
                document: Arc::new(document),
                library: folder.clone(),
            };
            let mut sending = Sending::new(shelf, 0..len);
            let mut bytes = 0;
            while let Ok(Some(more)) = sending.next() {
                bytes += more.len() as u64;
            }
            assert!(bytes <= len);
            sent += 1;
        }
    }
    assert!(sent > 100 && refused > 30, "{sent} sent, {refused} refused");
}
