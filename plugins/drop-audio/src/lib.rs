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

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Stream, configure, h264, key, opus, publication, take_log};

    fn open(tracks: impl IntoIterator<Item = Track>) -> Stream<DropAudio> {
        Stream::open(configure("").unwrap(), publication("cam", tracks)).unwrap()
    }

    #[test]
    fn readers_see_pictures_only() {
        let mut stream = open([opus(1), h264(2), opus(3)]);
        assert_eq!(stream.tracks(), [h264(2)]);
        assert!(stream.push(key(1, 0), b"sound").unwrap().is_empty());
        assert!(stream.push(key(3, 0), b"sound").unwrap().is_empty());
        assert_eq!(stream.push(key(2, 0), b"picture").unwrap()[0].payload, b"picture");
        assert_eq!(stream.shown(), 0, "no frame costs a call");
    }

    #[test]
    fn data_stays() {
        let data = Track {
            media: Media::Data,
            codec: "KLV".into(),
            ..h264(3)
        };
        let mut stream = open([h264(1), opus(2), data.clone()]);
        assert_eq!(stream.tracks(), [h264(1), data]);
        assert_eq!(stream.push(key(3, 0), b"data").unwrap().len(), 1);
    }

    #[test]
    fn a_stream_of_nothing_but_sound_falls_silent() {
        let mut stream = open([opus(1)]);
        assert!(stream.push(key(1, 0), b"sound").unwrap().is_empty());
        assert_eq!(take_log().len(), 1);
    }

    #[test]
    fn there_is_nothing_to_configure() {
        assert!(configure::<DropAudio>(r#"{"audio":true}"#).is_err());
    }
}
