//! Writes the wall clock into the stream itself, where players and analysers find it: an SEI message of H264 and H265, metadata of AV1. See README.md.

mod place;
mod stamp;

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Interest, Opening, Verdict};
use wasmtx_plugin::{Error, Frame, Part, Plugin, Publication, clock, metrics};

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Config {
    frames: Frames,
    clock: Clock,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Frames {
    #[default]
    All,
    Key,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Clock {
    /// When the publisher says that the picture was taken; the server's where it does not say.
    #[default]
    Publisher,
    /// When the frame came by here.
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    H265,
    Av1,
}

struct SeiTimestamp {
    config: Config,
    tracks: Vec<(u32, Codec)>,
}

impl Plugin for SeiTimestamp {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            config,
            tracks: Vec::new(),
        })
    }
}

impl Filter for SeiTimestamp {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let known = publication
            .tracks
            .iter()
            .filter_map(|track| Some((track.id, Codec::named(&track.codec)?)));
        self.tracks = known.collect();
        Ok(Opening::with(self.tracks.iter().map(
            |(id, _)| match self.config.frames {
                Frames::All => Interest::all(*id),
                Frames::Key => Interest::keyframes(*id),
            },
        )))
    }

    /// A frame in which no place is found passes as it is.
    fn frame(&mut self, frame: &Frame) -> Verdict {
        let time = match self.config.clock {
            Clock::Publisher if frame.wall != 0 => frame.wall,
            _ => clock::now().as_micros().try_into().unwrap_or(u64::MAX),
        };
        let codec = self
            .tracks
            .iter()
            .find(|(id, _)| *id == frame.track)
            .map(|(_, codec)| *codec);
        let written = codec
            .and_then(|codec| codec.stamp(frame, time))
            .is_some_and(|(offset, stamp)| {
                let parts = [
                    Part::Original(0..offset),
                    Part::Bytes(&stamp),
                    Part::Original(offset..frame.size),
                ];
                frame.splice(&parts).is_ok()
            });
        if !written {
            metrics::counter("frames_without", 1);
        }
        Verdict::Pass
    }
}

impl Codec {
    /// By the name that the API shows.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "H264" => Self::H264,
            "H265" => Self::H265,
            "AV1" => Self::Av1,
            _ => return None,
        })
    }

    /// What to put where.
    fn stamp(self, frame: &Frame, time: u64) -> Option<(u32, Vec<u8>)> {
        // Mostly the first bytes, which are here already, say enough.
        let lead = frame.lead();
        let there = frame.size.min(lead.len() as u32);
        let read = |offset: u32, length: u32| match lead.get(offset as usize..offset.saturating_add(length) as usize) {
            Some(bytes) if offset + length <= there => bytes.to_vec(),
            _ => frame.read(offset..offset.saturating_add(length)),
        };
        Some(match self {
            Self::H264 => (
                place::first_picture(&read, place::is_h264_picture)?.offset,
                stamp::h264(time),
            ),
            Self::H265 => {
                let place = place::first_picture(&read, place::is_h265_picture)?;
                // Layer 0, and the temporal layer of the picture that it is about.
                (place.offset, stamp::h265(time, (place.second & 7).max(1)))
            }
            Self::Av1 => (place::first_obu(&read)?, stamp::av1(time)),
        })
    }
}

wasmtx_plugin::export!(SeiTimestamp: filter);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wasmtx_plugin::Track;
    use wasmtx_plugin::testing::{Stream, configure, delta, h264, key, metrics, opus, publication, set_clock};

    fn open(config: &str) -> Stream<SeiTimestamp> {
        let coded = |id, codec: &str| Track {
            codec: codec.into(),
            ..h264(id)
        };
        let tracks = [h264(1), coded(2, "H265"), coded(3, "AV1"), coded(4, "VP8"), opus(5)];
        Stream::open(configure(config).unwrap(), publication("cam1", tracks)).unwrap()
    }

    #[track_caller]
    fn check(stream: &mut Stream<SeiTimestamp>, track: u32, before: &[u8], picture: &[u8], stamp: &[u8]) {
        let output = stream.push(key(track, 0), &[before, picture].concat()).unwrap();
        assert_eq!(output[0].payload, [before, stamp, picture].concat());
    }

    #[test]
    fn the_stamp_stands_before_the_picture_of_each_codec() {
        set_clock(Duration::from_micros(1_764_000_000_123_000));
        let now = 1_764_000_000_123_000;
        let mut stream = open("");
        check(&mut stream, 1, b"", &[0, 0, 0, 2, 0x65, 9], &stamp::h264(now));
        check(
            &mut stream,
            1,
            &[0, 0, 0, 3, 6, 1, 2],
            &[0, 0, 0, 2, 0x65, 9],
            &stamp::h264(now),
        );
        let far = [&[0, 0, 1, 0, 6][..], &[7; 255]].concat();
        check(&mut stream, 1, &far, &[0, 0, 0, 2, 0x65, 9], &stamp::h264(now));
        check(
            &mut stream,
            2,
            &[0, 0, 0, 3, 0x4e, 1, 5],
            &[0, 0, 0, 3, 0x26, 1, 9],
            &stamp::h265(now, 1),
        );
        check(&mut stream, 2, b"", &[0, 0, 0, 3, 0x02, 3, 9], &stamp::h265(now, 3));
        check(&mut stream, 3, &[0x0a, 1, 7], &[0x32, 1, 0], &stamp::av1(now));
        assert!(!metrics().counters.contains_key("frames_without"));
    }

    #[test]
    fn the_publishers_clock_counts_if_there_is_one() {
        set_clock(Duration::from_secs(7));
        for (config, expected) in [("", 5), (r#"{"clock":"server"}"#, 7_000_000)] {
            let mut timed = key(1, 0);
            timed.wall = 5;
            let output = open(config).push(timed, &[0, 0, 0, 2, 0x65, 9]).unwrap();
            assert!(output[0].payload.starts_with(&stamp::h264(expected)), "{config}");
        }
    }

    #[test]
    fn frames_between_keyframes_have_one_unless_that_is_too_much() {
        for (config, longer) in [("", true), (r#"{"frames":"key"}"#, false)] {
            let output = open(config).push(delta(1, 1), &[0, 0, 0, 2, 0x41, 9]).unwrap();
            assert_eq!(output[0].payload.len() > 6, longer, "{config}");
        }
    }

    #[test]
    fn what_has_no_place_for_it_passes_as_it_is() {
        let mut stream = open("");
        for (track, payload) in [
            (1, &b""[..]),
            (1, b"no picture"),
            (2, &[0, 0, 0, 9, 0x4e, 1, 5]),
            (3, &[0x0a]),
            (4, b"VP8"),
            (5, b"sound"),
        ] {
            assert_eq!(stream.push(key(track, 0), payload).unwrap()[0].payload, payload);
        }
        assert_eq!(metrics().counters["frames_without"], 4);
        assert_eq!(stream.shown(), 4, "other codecs cost no call");
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (r#"{"frames":"some"}"#, "/frames"),
            (r#"{"clock":"mine"}"#, "/clock"),
            (r#"{"uuid":"x"}"#, "/uuid"),
        ] {
            match configure::<SeiTimestamp>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}"),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
