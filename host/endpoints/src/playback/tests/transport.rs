//! What is recorded as a transport stream is played back as what is recorded as an MP4.

use bytes::BytesMut;
use wasmtx_media::container::mpegts::{self, Muxer};

use super::*;

/// Two recordings of the same.
struct Both {
    movies: Recording,
    streams: Recording,
}

impl Both {
    fn new(name: &str, files: &[i64]) -> Both {
        let movies = Recording::new(&format!("{name}-mp4"), files);
        let streams = Recording::new(&format!("{name}-ts"), &[]);
        let mut second = 0;
        for seconds in files {
            write(&streams, second, *seconds);
            second += seconds;
        }
        Both { movies, streams }
    }

    /// The answers to the same question.
    async fn get(&self, target: &str) -> [Answer; 2] {
        let houses = [House::open(&self.movies.root), House::open(&self.streams.root)];
        [houses[0].get(target).await, houses[1].get(target).await]
    }
}

fn write(recording: &Recording, second: i64, seconds: i64) {
    let [video, sound] = tracks();
    let mut muxer = Muxer::new(&[video.clone(), sound.clone()]).unwrap();
    for track in [&video, &sound] {
        muxer.begin(track.id, second * i64::from(track.clock_rate));
    }
    let mut file = BytesMut::new();
    for n in second * FRAME_RATE..(second + seconds) * FRAME_RATE {
        muxer.push(&picture(&video, n), &mut file).unwrap();
        for sounds in 2 * n..2 * n + 2 {
            muxer.push(&noise(&sound, sounds), &mut file).unwrap();
        }
    }
    fs::write(recording.file(second).with_extension("ts"), file).unwrap();
}

/// What an archive says of such a file.
pub(super) fn segment(start: u64, file: String, bytes: &[u8]) -> Segment {
    let span = mpegts::span(bytes.len() as u64, |offset, len| {
        let from = (offset as usize).min(bytes.len());
        Ok::<_, io::Error>(Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + len)]))
    });
    let span = span.unwrap().unwrap_or(mpegts::Span { start: 0, end: 0 });
    Segment {
        start,
        duration: u64::try_from(span.end - span.start).unwrap() * 100 / 9,
        size: bytes.len() as u64,
        file: file.into(),
        format: Format::MpegTs,
        active: false,
        known: true,
        join: None,
        tracks: 0,
    }
}

/// Numbers and moments, which may differ by what 90 kHz cannot tell.
fn check_same(movie: &[u8], stream: &[u8]) {
    let ((pictures, sounds), (their_pictures, their_sounds)) = (frames(movie), frames(stream));
    for (ours, theirs) in [(pictures, their_pictures), (sounds, their_sounds)] {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(
                ours.0 == theirs.0 && (ours.1 - theirs.1).abs() <= 1,
                "{ours:?} {theirs:?}"
            );
        }
    }
}

#[tokio::test]
async fn transport_streams_join_into_one_range() {
    let both = Both::new("list", &[4, 3]);
    let [_, list] = both.get("/list?path=cam").await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let duration = list[0]["duration"].as_f64().unwrap();
    assert!((duration - 7.0).abs() < 0.1, "{duration}");
}

#[tokio::test]
async fn any_range_of_transport_streams_is_a_file_as_that_of_mp4_is() {
    let both = Both::new("get", &[12, 13, 5]);
    for format in ["fmp4", "mp4"] {
        for (millis, duration) in [
            (0, "30"),
            (0, "1"),
            (11_980, "0.5"),
            (10_500, "9.3"),
            (24_900, "20"),
            (14_000, "2"),
        ] {
            let target = url(
                "/get?path=cam&",
                millis,
                &format!("duration={duration}&format={format}"),
            );
            let [movie, stream] = both.get(&target).await;
            assert_eq!((movie.status, stream.status), (200, 200), "{target} {}", stream.head);
            check_same(&movie.body, &stream.body);
        }
    }
    let [movie, stream] = both.get(&url("/get?path=cam&", 40_000, "duration=3")).await;
    assert_eq!((movie.status, stream.status), (404, 404));
}

#[tokio::test]
async fn any_bytes_of_a_file_made_of_transport_streams_are_the_same() {
    let both = Both::new("bytes", &[5, 4]);
    let house = House::open(&both.streams.root);
    for format in ["fmp4", "mp4"] {
        let target = url("/get?path=cam&", 2_300, &format!("duration=5&format={format}"));
        let whole = house.get(&target).await;
        assert_eq!(whole.header("content-length"), Some(&*whole.body.len().to_string()));
        for from in (0..whole.body.len()).step_by(7_919) {
            let to = (from + 9_000).min(whole.body.len() - 1);
            let some = house
                .ask("GET", &target, &[("range", &format!("bytes={from}-{to}"))])
                .await;
            assert_eq!(some.status, 206);
            assert_eq!(some.body, whole.body[from..=to]);
        }
    }
}

#[tokio::test]
async fn transport_streams_are_served_as_hls() {
    let both = Both::new("vod", &[11, 9]);
    let [movie, stream] = both.get(&url("/vod/cam/index.m3u8?", 3_000, "duration=14")).await;
    assert_eq!((movie.status, stream.status), (200, 200));
    let lengths = |playlist: &str| -> Vec<String> {
        let lines = playlist.lines().filter(|line| line.starts_with("#EXTINF"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lengths(movie.text()), lengths(stream.text()), "{}", stream.text());
    let house = House::open(&both.streams.root);
    let header = stream
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\"")?.strip_suffix('"'));
    let mut file = house.get(&format!("/vod/cam/{}", header.unwrap())).await.body;
    for segment in stream.text().lines().filter(|line| !line.starts_with('#')) {
        let answer = house.get(&format!("/vod/cam/{segment}")).await;
        assert_eq!(answer.status, 200, "{segment}");
        file.extend_from_slice(&answer.body);
    }
    let numbers: Vec<i64> = frames(&file).0.into_iter().map(|(n, ..)| n).collect();
    assert_eq!(numbers, (3 * FRAME_RATE..17 * FRAME_RATE).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_is_no_transport_stream_is_not_readable() {
    let both = Both::new("garbage", &[2]);
    fs::write(both.streams.file(0).with_extension("ts"), vec![0x47; 5_000]).unwrap();
    let answer = House::open(&both.streams.root)
        .get(&url("/get?path=cam&", 0, "duration=1"))
        .await;
    assert_eq!(answer.status, 500);
    assert!(answer.error().contains("not readable"), "{}", answer.error());
}
