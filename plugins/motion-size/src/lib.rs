//! A hint of motion from the sizes of pictures, without looking into them. See README.md.

mod detector;

use detector::{Change, Detector, Thresholds, WINDOW};
use serde::Deserialize;
use wasmtx_plugin::sink::{Interest, Sink, Wants};
use wasmtx_plugin::{CloseReason, Error, FrameInfo, Media, Plugin, Publication, json, metrics, notify};

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Times the usual size.
    factor: f64,
    /// Of sixteen pictures.
    pictures: u32,
    /// Seconds.
    hold: f64,
    /// Seconds.
    memory: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            factor: 2.0,
            pictures: 4,
            hold: 5.0,
            memory: 60.0,
        }
    }
}

struct MotionSize {
    thresholds: Thresholds,
    path: String,
    watched: Option<Watched>,
}

/// The first track of video.
struct Watched {
    track: u32,
    clock_rate: f64,
    detector: Detector,
}

impl Plugin for MotionSize {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if !(1.1..=100.0).contains(&config.factor) {
            return Err(Error::invalid("/factor", "must be 1.1 to 100"));
        }
        if !(1..=WINDOW).contains(&config.pictures) {
            return Err(Error::invalid("/pictures", format!("must be 1 to {WINDOW}")));
        }
        if !(0.1..=3_600.0).contains(&config.hold) {
            return Err(Error::invalid("/hold", "must be 0.1 to 3600 seconds"));
        }
        if !(1.0..=86_400.0).contains(&config.memory) {
            return Err(Error::invalid("/memory", "must be 1 to 86400 seconds"));
        }
        let Config {
            factor,
            pictures,
            hold,
            memory,
        } = config;
        Ok(Self {
            thresholds: Thresholds {
                factor,
                pictures,
                hold,
                memory,
            },
            path: String::new(),
            watched: None,
        })
    }
}

impl Sink for MotionSize {
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        self.end();
        self.path = publication.path;
        let video = publication.tracks.iter().find(|track| track.media == Media::Video);
        self.watched = video.map(|track| Watched {
            track: track.id,
            clock_rate: f64::from(track.clock_rate.max(1)),
            detector: Detector::new(self.thresholds),
        });
        Ok(Wants::with(video.map(|track| Interest::all(track.id))).without_bytes())
    }

    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        let Some(watched) = &mut self.watched else {
            return Ok(());
        };
        let mut highest = None;
        for frame in batch
            .iter()
            .filter(|frame| frame.track == watched.track && !frame.is_key())
        {
            let (score, change) = watched.detector.add(frame.dts as f64 / watched.clock_rate, frame.size);
            highest = Some(score.max(highest.unwrap_or(0.0)));
            if let Some(change) = change {
                say(&self.path, change);
            }
        }
        if let Some(highest) = highest {
            metrics::gauge("motion_score", highest);
        }
        Ok(())
    }

    fn close(&mut self, _reason: CloseReason) {
        self.end();
    }
}

impl MotionSize {
    fn end(&mut self) {
        if let Some(change) = self.watched.as_mut().and_then(|watched| watched.detector.end()) {
            say(&self.path, change);
        }
    }
}

fn say(path: &str, change: Change) {
    // Three digits are more than the score is worth.
    let short = |number: f64| (number * 1_000.0).round() / 1_000.0;
    match change {
        Change::Begun { score } => {
            metrics::gauge("motion", 1.0);
            metrics::counter("motions", 1);
            notify::raise(
                "motion",
                &json!({ "path": path, "active": true, "score": short(score) }),
            );
        }
        Change::Over { seconds, peak } => {
            metrics::gauge("motion", 0.0);
            let what = json!({ "path": path, "active": false, "score": short(peak), "seconds": short(seconds) });
            notify::raise("motion", &what);
        }
    }
}

wasmtx_plugin::export!(MotionSize: sink);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Reader, configure, delta, h264, key, metrics, opus, publication, take_raised};

    /// A second of pictures, the first a keyframe that is large whatever happens.
    fn second(number: u64, size: usize) -> Vec<(FrameInfo, Vec<u8>)> {
        let picture = |picture| match picture {
            0 => (key(1, number * 25), vec![0; 20_000]),
            _ => (delta(1, number * 25 + picture), vec![0; size]),
        };
        (0..25).map(picture).collect()
    }

    fn feed(reader: &mut Reader<MotionSize>, seconds: std::ops::Range<u64>, size: usize) {
        for number in seconds {
            let frames = second(number, size);
            reader
                .push(frames.iter().map(|(info, payload)| (*info, payload.as_slice())))
                .unwrap();
        }
    }

    fn open() -> Reader<MotionSize> {
        let tracks = [opus(7), h264(1), h264(2)];
        Reader::open(configure("").unwrap(), publication("door", tracks)).unwrap()
    }

    #[test]
    fn motion_is_raised_when_it_begins_and_when_it_is_over() {
        let mut reader = open();
        feed(&mut reader, 0..20, 500);
        assert!(take_raised().is_empty());
        feed(&mut reader, 20..23, 2_000);
        let raised = take_raised();
        let [(kind, what)] = raised.as_slice() else {
            panic!("{raised:?}")
        };
        assert_eq!(
            (kind.as_str(), &what["path"], &what["active"]),
            ("motion", &json!("door"), &json!(true))
        );
        assert_eq!(metrics().gauges["motion"], 1.0);
        assert!(metrics().gauges["motion_score"] > 3.0);
        feed(&mut reader, 23..30, 500);
        let raised = take_raised();
        let [(_, what)] = raised.as_slice() else {
            panic!("{raised:?}")
        };
        assert_eq!(what["active"], json!(false));
        assert!((2.0..4.0).contains(&what["seconds"].as_f64().unwrap()), "{what}");
        assert_eq!((metrics().gauges["motion"], metrics().counters["motions"]), (0.0, 1));
    }

    #[test]
    fn motion_is_over_when_the_stream_is() {
        let mut reader = open();
        feed(&mut reader, 0..20, 500);
        feed(&mut reader, 20..22, 2_000);
        assert_eq!(take_raised().len(), 1);
        reader.close(CloseReason::Ended);
        assert_eq!(take_raised()[0].1["active"], json!(false));
    }

    #[test]
    fn sound_is_not_looked_at() {
        let mut reader = Reader::open(configure::<MotionSize>("").unwrap(), publication("radio", [opus(1)])).unwrap();
        reader.push([(key(1, 0), &b"sound"[..])]).unwrap();
        assert_eq!(reader.shown(), 0);
        reader.close(CloseReason::Ended);
        assert!(take_raised().is_empty());
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (r#"{"factor":1}"#, "/factor"),
            (r#"{"pictures":0}"#, "/pictures"),
            (r#"{"pictures":17}"#, "/pictures"),
            (r#"{"hold":0}"#, "/hold"),
            (r#"{"memory":0.5}"#, "/memory"),
            (r#"{"threshold":2}"#, "/threshold"),
        ] {
            match configure::<MotionSize>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}"),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
