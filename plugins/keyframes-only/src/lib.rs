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
        let opening = Opening::with(publication.tracks.iter().map(|track| interest(track.id, track.media)));
        let (pictures, others): (Vec<_>, Vec<_>) = publication
            .tracks
            .into_iter()
            .partition(|track| track.media == Media::Video);
        // Players wait for the first sound of a track that is announced.
        let silent = matches!(self.config.audio, Audio::Drop) && !pictures.is_empty() && !others.is_empty();
        Ok(if silent { opening.announcing(pictures) } else { opening })
    }
}

wasmtx_plugin::export!(KeyframesOnly: filter);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Stream, configure, delta, h264, key, opus, publication};

    const VIDEO: u32 = 1;
    const SOUND: u32 = 2;

    /// Twelve pictures, each third a keyframe, with a piece of sound after each. Returns the numbers of the pictures and pieces that came out.
    fn check(config: &str, pictures: &[u64], pieces: usize) {
        let filter: KeyframesOnly = configure(config).unwrap();
        let mut stream = Stream::open(filter, publication("wall", [h264(VIDEO), opus(SOUND)])).unwrap();
        let mut output = Vec::new();
        for number in 0..12 {
            let picture = if number % 3 == 0 {
                key(VIDEO, number)
            } else {
                delta(VIDEO, number)
            };
            output.extend(stream.push(picture, b"picture").unwrap());
            output.extend(stream.push(key(SOUND, number), b"sound").unwrap());
        }
        let numbers: Vec<u64> = output
            .iter()
            .filter(|frame| frame.info.track == VIDEO)
            .map(|frame| frame.info.number)
            .collect();
        assert_eq!(numbers, pictures, "{config}");
        assert_eq!(output.len() - numbers.len(), pieces, "{config}");
        assert_eq!(
            stream.shown(),
            pictures.len() as u64,
            "what does not pass costs no call"
        );
        let announced = if config.contains("pass") { 2 } else { 1 };
        assert_eq!(stream.tracks().len(), announced, "what does not pass is not announced");
    }

    #[test]
    fn every_nth_keyframe_passes() {
        check("", &[0, 3, 6, 9], 0);
        check(r#"{"every":2}"#, &[0, 6], 0);
        check(r#"{"every":4294967295}"#, &[0], 0);
    }

    #[test]
    fn sound_passes_when_asked_for() {
        check(r#"{"every":3,"audio":"pass"}"#, &[0, 9], 12);
        check(r#"{"audio":"drop"}"#, &[0, 3, 6, 9], 0);
    }

    #[test]
    fn senseless_values_are_refused_by_name() {
        for (config, pointer) in [
            (r#"{"every":0}"#, "/every"),
            (r#"{"every":-1}"#, "/every"),
            (r#"{"audio":"loud"}"#, "/audio"),
            (r#"{"evry":2}"#, "/evry"),
        ] {
            match configure::<KeyframesOnly>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
