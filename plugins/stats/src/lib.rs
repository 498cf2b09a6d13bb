//! What streams are made of, as metrics: bit rate, frame rate, length of groups of pictures, gaps. See README.md.

mod track;

use std::time::Duration;

use serde::Deserialize;
use track::Figures;
use wasmtx_plugin::sink::{Interest, Sink, Wants};
use wasmtx_plugin::{CloseReason, Error, FrameInfo, Plugin, Publication, clock, metrics};

/// Of a plugin's 64 metrics per path each of these takes seven.
const MOST_TRACKS: usize = 8;

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Seconds that figures are averages of.
    interval: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval: 5.0 }
    }
}

struct Stats {
    interval: Duration,
    tracks: Vec<(u32, Figures)>,
    /// When the last frame came.
    heard: Duration,
    silent: bool,
}

impl Plugin for Stats {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if !(1.0..=600.0).contains(&config.interval) {
            return Err(Error::invalid("/interval", "must be 1 to 600 seconds"));
        }
        Ok(Self {
            interval: Duration::from_secs_f64(config.interval),
            tracks: Vec::new(),
            heard: Duration::ZERO,
            silent: true,
        })
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.interval)
    }

    /// For streams of which nothing comes any more.
    fn tick(&mut self, _now: Duration) {
        if !self.silent && clock::monotonic().saturating_sub(self.heard) >= self.interval {
            self.fall_silent();
        }
    }
}

impl Sink for Stats {
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        let tracks = publication.tracks.iter().take(MOST_TRACKS);
        self.tracks = tracks.map(|track| (track.id, Figures::new(track))).collect();
        Ok(Wants::with(self.tracks.iter().map(|(id, _)| Interest::all(*id))).without_bytes())
    }

    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        self.heard = clock::monotonic();
        self.silent = false;
        let interval = self.interval.as_secs_f64();
        for frame in batch {
            let Some((_, figures)) = self.tracks.iter_mut().find(|(id, _)| *id == frame.track) else {
                continue;
            };
            if figures.held() >= interval {
                show(figures);
            }
            figures.add(&frame);
            metrics::counter(&format!("{}_frames", figures.name), 1);
            metrics::counter(&format!("{}_bytes", figures.name), frame.size.into());
        }
        Ok(())
    }

    fn close(&mut self, _reason: CloseReason) {
        self.fall_silent();
    }
}

impl Stats {
    /// What is not sent any more has no rate; a gauge would stay for ever at what it was.
    fn fall_silent(&mut self) {
        self.silent = true;
        for (_, figures) in &mut self.tracks {
            figures.take();
            metrics::gauge(&format!("{}_bits_per_second", figures.name), 0.0);
            metrics::gauge(&format!("{}_frames_per_second", figures.name), 0.0);
        }
    }
}

fn show(figures: &mut Figures) {
    let rates = figures.take();
    let name = &figures.name;
    metrics::gauge(&format!("{name}_bits_per_second"), rates.bits);
    metrics::gauge(&format!("{name}_frames_per_second"), rates.frames);
    metrics::gauge(&format!("{name}_gaps"), figures.gaps as f64);
    if let Some(group) = rates.group {
        metrics::gauge(&format!("{name}_gop_frames"), group.frames as f64);
        metrics::gauge(&format!("{name}_keyframe_interval_seconds"), group.seconds);
    }
}

wasmtx_plugin::export!(Stats: sink);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::Track;
    use wasmtx_plugin::testing::{
        Reader, advance_clock, configure, delta, h264, key, metrics, opus, publication, tick,
    };

    fn infos(count: u64) -> impl Iterator<Item = (FrameInfo, &'static [u8])> {
        (0..count).flat_map(|number| {
            let picture = if number % 25 == 0 {
                key(1, number)
            } else {
                delta(1, number)
            };
            let mut sound = key(2, number);
            // The track's clock has 48 kHz.
            sound.dts = number as i64 * 1_920;
            [(picture, &[0u8; 500][..]), (sound, &[0; 100])]
        })
    }

    fn open(config: &str) -> Reader<Stats> {
        Reader::open(configure(config).unwrap(), publication("cam1", [h264(1), opus(2)])).unwrap()
    }

    #[test]
    fn figures_of_each_track_are_shown_after_an_interval_however_they_come() {
        let mut reader = open(r#"{"interval":2}"#);
        reader.push(infos(40)).unwrap();
        assert!(metrics().gauges.is_empty(), "the interval is not over");
        let mut reader = open(r#"{"interval":2}"#);
        reader.push(infos(60)).unwrap();
        let gauges = metrics().gauges;
        let near = |name: &str, expected: f64| {
            assert!(
                (gauges[name] - expected).abs() < 0.01 * expected,
                "{name} {}",
                gauges[name]
            )
        };
        near("video1_bits_per_second", 100_000.0);
        near("video1_frames_per_second", 25.0);
        near("video1_gop_frames", 25.0);
        near("video1_keyframe_interval_seconds", 1.0);
        near("audio2_bits_per_second", 20_000.0);
        near("audio2_frames_per_second", 25.0);
        assert!(!gauges.contains_key("audio2_gop_frames"));
        assert_eq!(
            (metrics().counters["video1_frames"], metrics().counters["video1_bytes"]),
            (100, 50_000)
        );
    }

    #[test]
    fn a_stream_that_stops_has_no_rate() {
        let mut stats = configure::<Stats>(r#"{"interval":1}"#).unwrap();
        stats.open(publication("cam1", [h264(1)])).unwrap();
        stats
            .infos(
                (0..60)
                    .map(|number| FrameInfo {
                        size: 500,
                        ..key(1, number)
                    })
                    .collect(),
            )
            .unwrap();
        tick(&mut stats);
        assert!(metrics().gauges["video1_bits_per_second"] > 0.0, "it is not over yet");
        advance_clock(Duration::from_secs(1));
        tick(&mut stats);
        assert_eq!(metrics().gauges["video1_bits_per_second"], 0.0);
        stats
            .infos(
                (60..120)
                    .map(|number| FrameInfo {
                        size: 500,
                        ..key(1, number)
                    })
                    .collect(),
            )
            .unwrap();
        assert!(metrics().gauges["video1_bits_per_second"] > 0.0);
        stats.close(CloseReason::Ended);
        assert_eq!(metrics().gauges["video1_frames_per_second"], 0.0);
    }

    #[test]
    fn more_tracks_than_there_are_metrics_for_are_left_out() {
        let many: Vec<Track> = (1..=20).map(h264).collect();
        let mut reader = Reader::open(configure::<Stats>("").unwrap(), publication("cam1", many)).unwrap();
        reader
            .push((1..=20).map(|track| (key(track, 0), &b"picture"[..])))
            .unwrap();
        assert_eq!(reader.shown(), 8);
        reader.close(CloseReason::Ended);
        assert!(metrics().gauges.len() + metrics().counters.len() <= 64);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (r#"{"interval":0}"#, "/interval"),
            (r#"{"interval":601}"#, "/interval"),
            (r#"{"interval":"5s"}"#, "/interval"),
            (r#"{"every":5}"#, "/every"),
        ] {
            match configure::<Stats>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}"),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
