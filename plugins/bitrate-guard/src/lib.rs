//! Keeps publishers below a bit rate: who sends more is closed, or loses pictures until it is less. See README.md.

mod bucket;

use std::time::Duration;

use bucket::Bucket;
use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Opening, Verdict};
use wasmtx_plugin::{CloseReason, Error, Frame, Media, Plugin, Publication, clock, json, metrics, notify};

/// Between two words about the same stream.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// Bits per second, on average over all tracks.
    max_bitrate: u64,
    /// So many seconds' worth may come at once.
    #[serde(default = "two")]
    burst: f64,
    #[serde(default)]
    then: Then,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Then {
    #[default]
    Close,
    Drop,
}

fn two() -> f64 {
    2.0
}

struct BitrateGuard {
    config: Config,
    bucket: Bucket,
    path: String,
    /// Tracks of video, of which nothing passes before the next keyframe: `true` while that is so.
    video: Vec<(u32, bool)>,
    said: Option<Duration>,
}

impl Plugin for BitrateGuard {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if !(1_000..=1_000_000_000_000).contains(&config.max_bitrate) {
            return Err(Error::invalid("/maxBitrate", "must be at least 1000 bits per second"));
        }
        if !(0.1..=60.0).contains(&config.burst) {
            return Err(Error::invalid("/burst", "must be 0.1 to 60 seconds"));
        }
        Ok(Self {
            bucket: Bucket::new(config.max_bitrate, config.burst),
            config,
            path: String::new(),
            video: Vec::new(),
            said: None,
        })
    }
}

impl Filter for BitrateGuard {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let video = publication.tracks.iter().filter(|track| track.media == Media::Video);
        self.video = video.map(|track| (track.id, false)).collect();
        self.path = publication.path;
        Ok(Opening::all(&publication.tracks))
    }

    /// A look at the size, and the clock: no byte of the frame comes here.
    fn frame(&mut self, frame: &Frame) -> Verdict {
        let now = clock::monotonic();
        if self.config.then == Then::Close {
            if self.bucket.takes(now, frame.size) {
                return Verdict::Pass;
            }
            self.say(now, "close");
            return Verdict::Close;
        }
        // What is dropped was sent all the same, but it is the readers who are kept from it: only what passes counts.
        let waiting = self
            .video
            .iter_mut()
            .find(|(track, _)| *track == frame.track)
            .map(|(_, waiting)| waiting);
        let needs_a_keyframe = waiting.as_ref().is_some_and(|waiting| **waiting) && !frame.is_key();
        let passes = !needs_a_keyframe && self.bucket.takes(now, frame.size);
        if let Some(waiting) = waiting {
            // The pictures after a missing one cannot be decoded, unless nothing needed it.
            *waiting = !passes && (needs_a_keyframe || !frame.is_disposable());
        }
        if passes {
            return Verdict::Pass;
        }
        metrics::counter("frames_dropped", 1);
        self.say(now, "drop");
        Verdict::Drop
    }

    fn close(&mut self, _reason: CloseReason) {
        self.video.clear();
    }
}

impl BitrateGuard {
    fn say(&mut self, now: Duration, action: &str) {
        if self.said.is_some_and(|said| now.saturating_sub(said) < SAY_AGAIN) {
            return;
        }
        self.said = Some(now);
        metrics::counter("exceeded", 1);
        let what = json!({ "path": self.path, "maxBitrate": self.config.max_bitrate, "action": action });
        notify::raise("bitrate-exceeded", &what);
    }
}

wasmtx_plugin::export!(BitrateGuard: filter);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{
        Stream, advance_clock, configure, delta, h264, key, metrics, opus, publication, set_clock, take_raised,
    };

    /// 8 kbit/s: a thousand bytes a second, two thousand at once.
    fn open(then: &str) -> Stream<BitrateGuard> {
        let config = format!(r#"{{"maxBitrate":8000,"burst":2,"then":"{then}"}}"#);
        Stream::open(configure(&config).unwrap(), publication("cam1", [h264(1), opus(2)])).unwrap()
    }

    #[test]
    fn who_stays_below_the_cap_goes_on_for_ever() {
        let mut stream = open("close");
        for number in 0..10_000 {
            stream.push(delta(1, number), &[0; 90]).unwrap();
            stream.push(key(2, number), &[0; 10]).unwrap();
            advance_clock(Duration::from_millis(100));
        }
        assert!(take_raised().is_empty());
    }

    #[test]
    fn who_sends_more_is_closed_once_the_burst_is_used_up() {
        let mut stream = open("close");
        stream.push(key(1, 0), &[0; 1_500]).unwrap();
        stream.push(key(2, 0), &[0; 500]).unwrap();
        assert!(stream.push(delta(1, 1), &[0; 1]).is_err());
        let raised = take_raised();
        assert_eq!(
            raised,
            [(
                "bitrate-exceeded".to_owned(),
                json!({ "path": "cam1", "maxBitrate": 8_000, "action": "close" })
            )]
        );
    }

    #[test]
    fn a_pause_gives_back_no_more_than_the_burst() {
        let mut stream = open("close");
        stream.push(key(1, 0), &[0; 2_000]).unwrap();
        advance_clock(Duration::from_millis(500));
        stream.push(delta(1, 1), &[0; 500]).unwrap();
        advance_clock(Duration::from_secs(3_600));
        stream.push(delta(1, 2), &[0; 2_000]).unwrap();
        assert!(stream.push(delta(1, 3), &[0; 1]).is_err());
    }

    #[test]
    fn a_frame_larger_than_the_burst_is_too_large() {
        assert!(open("close").push(key(1, 0), &[0; 2_001]).is_err());
        set_clock(Duration::from_secs(100));
        assert!(open("close").push(key(1, 0), &[0; 2_000]).is_ok());
    }

    #[test]
    fn dropping_begins_with_a_frame_that_does_not_fit_and_ends_with_a_keyframe_that_does() {
        let mut stream = open("drop");
        let mut push = |info, size: usize| !stream.push(info, &vec![0; size]).unwrap().is_empty();
        assert!(push(key(1, 0), 1_500));
        assert!(!push(delta(1, 1), 600));
        assert!(!push(delta(1, 2), 100), "it would fit, and nobody could decode it");
        assert!(push(key(2, 0), 400), "sound has room of its own");
        advance_clock(Duration::from_secs(1));
        assert!(!push(delta(1, 3), 100));
        assert!(!push(key(1, 4), 1_101));
        assert!(push(key(1, 5), 1_000));
        assert!(push(delta(1, 6), 100));
        assert_eq!(metrics().counters["frames_dropped"], 4);
        assert_eq!(take_raised().len(), 1, "it is said once in a while");
    }

    #[test]
    fn a_picture_that_nobody_needs_takes_none_along() {
        let mut stream = open("drop");
        stream.push(key(1, 0), &[0; 1_900]).unwrap();
        let mut disposable = delta(1, 1);
        disposable.flags |= 1 << 2;
        assert!(stream.push(disposable, &[0; 200]).unwrap().is_empty());
        assert_eq!(stream.push(delta(1, 2), &[0; 100]).unwrap().len(), 1);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            ("{}", ""),
            (r#"{"maxBitrate":999}"#, "/maxBitrate"),
            (r#"{"maxBitrate":"4M"}"#, "/maxBitrate"),
            (r#"{"maxBitrate":4000000,"burst":0}"#, "/burst"),
            (r#"{"maxBitrate":4000000,"then":"warn"}"#, "/then"),
            (r#"{"maxBitrate":4000000,"cap":1}"#, "/cap"),
        ] {
            match configure::<BitrateGuard>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
