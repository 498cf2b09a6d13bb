//! Takes the sound out of a stream: readers are not even told that there was any. See README.md.

use wasmtx_plugin::filter::{Filter, Interest, Opening};
use wasmtx_plugin::{Error, Media, NoConfig, Plugin, Publication, Track};

struct DropAudio;

impl Plugin for DropAudio {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Error> {
        Ok(DropAudio)
    }
}

/// No frame is ever shown: which frames go on is said once, at the start of the stream.
impl Filter for DropAudio {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let is_sound = |track: &Track| track.media == Media::Audio;
        let interest = |track: &Track| {
            if is_sound(track) {
                Interest::discard(track.id)
            } else {
                Interest::pass(track.id)
            }
        };
        let opening = Opening::with(publication.tracks.iter().map(interest));

        // A stream needs a track, and an error would let the sound through by default: then a silent one it is.
        if publication.tracks.iter().all(is_sound) {
            wasmtx_plugin::warn!("{} has nothing but sound, so nothing is left of it", publication.path);
            return Ok(opening);
        }
        Ok(opening.announcing(
            publication
                .tracks
                .into_iter()
                .filter(|track| !is_sound(track))
                .collect(),
        ))
    }
}

wasmtx_plugin::export!(DropAudio: filter);
