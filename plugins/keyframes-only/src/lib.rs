//! Passes every n-th keyframe of video and nothing else: a wall of cameras for the price of slides. See README.md.

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Interest, Opening};
use wasmtx_plugin::{Error, Media, Plugin, Publication};

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// One keyframe in so many passes.
    every: u32,
    /// What happens to tracks that are not video.
    audio: Audio,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Audio {
    Drop,
    Pass,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            every: 1,
            audio: Audio::Drop,
        }
    }
}

struct KeyframesOnly {
    config: Config,
}

impl Plugin for KeyframesOnly {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.every == 0 {
            return Err(Error::invalid("/every", "must be at least 1"));
        }
        Ok(Self { config })
    }
}

/// All is said by which frames are asked for: the server drops the others without a call, and passes what `frame` is shown.
impl Filter for KeyframesOnly {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let interest = |id, media| match (media, self.config.audio) {
            (Media::Video, _) => Interest::keyframes(id).every(self.config.every).drop_others(),
            (_, Audio::Pass) => Interest::pass(id),
            (_, Audio::Drop) => Interest::discard(id),
        };
        Ok(Opening::with(
            publication.tracks.iter().map(|track| interest(track.id, track.media)),
        ))
    }
}

wasmtx_plugin::export!(KeyframesOnly: filter);
