//! Counts the frames of a stream, and shows readers nothing but keyframes if it is told to.

use wasmtx_plugin::filter::{Filter, Interest, Opening, Verdict};
use wasmtx_plugin::{CloseReason, Error, Frame, Plugin, Publication, info};

/// The `config` of mediamtx.yml.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    keyframes: bool,
}

/// One of these per stream.
struct Counter {
    config: Config,
    frames: u64,
}

impl Plugin for Counter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Counter { config, frames: 0 })
    }
}

impl Filter for Counter {
    /// What is not asked for here costs nothing: the server passes it on or drops it by itself.
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        info!("{} has {} tracks", publication.path, publication.tracks.len());
        let interest = |id| match self.config.keyframes {
            true => Interest::keyframes(id).drop_others(),
            false => Interest::all(id),
        };
        Ok(Opening::with(publication.tracks.iter().map(|track| interest(track.id))))
    }

    fn frame(&mut self, _: &Frame) -> Verdict {
        self.frames += 1;
        Verdict::Pass
    }

    fn close(&mut self, _: CloseReason) {
        info!("{} frames passed", self.frames);
    }
}

wasmtx_plugin::export!(Counter: filter);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Stream, configure, delta, h264, key, publication, take_log};

    /// How many of a keyframe and two others come out.
    fn passed(config: &str) -> usize {
        let counter: Counter = configure(config).unwrap();
        let mut stream = Stream::open(counter, publication("cam1", [h264(1)])).unwrap();
        let frames = [key(1, 0), delta(1, 1), delta(1, 2)];
        let output = frames.map(|frame| stream.push(frame, b"picture").unwrap().len());
        stream.close(CloseReason::Ended);
        output.iter().sum()
    }

    #[test]
    fn all_frames_pass_or_only_keyframes() {
        assert_eq!(passed("{}"), 3);
        assert_eq!(passed(r#"{"keyframes":true}"#), 1);
        let (_, last) = take_log().pop().unwrap();
        assert_eq!(last, "1 frames passed");
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(configure::<Counter>(r#"{"keyframe":true}"#).is_err());
    }
}
