//! Offers sound as Opus beside what the publisher sends, for browsers. The codec work is the server's.

use wasmtx_plugin::transcoder::{Plan, Target, Transcoder};
use wasmtx_plugin::{Error, Media, Plugin, Publication};

/// The `config` of mediamtx.yml.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Bits per second.
    bitrate: u32,
}

struct ForBrowsers(Config);

impl Plugin for ForBrowsers {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(ForBrowsers(config))
    }
}

impl Transcoder for ForBrowsers {
    /// A track that is not named stays as it is.
    fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        let target = || Target::codec("Opus").bitrate(self.0.bitrate).sample_rate(48_000);
        let tracks = publication.tracks.iter();
        let others = tracks.filter(|track| track.media == Media::Audio && track.codec != "Opus");
        Ok(others.map(|track| (track.id, Plan::Add(target()))).collect())
    }
}

wasmtx_plugin::export!(ForBrowsers: transcoder);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::Track;
    use wasmtx_plugin::testing::{configure, h264, opus, publication, transcoded};

    #[test]
    fn opus_is_added_to_other_sound_only() {
        let mut plugin: ForBrowsers = configure(r#"{"bitrate":64000}"#).unwrap();
        let aac = Track {
            codec: "MPEG-4 Audio".into(),
            ..opus(2)
        };
        let mut codecs = |tracks: Vec<Track>| -> Vec<String> {
            let offered = transcoded(&mut plugin, publication("cam1", tracks)).unwrap();
            offered.into_iter().map(|track| track.codec).collect()
        };
        assert_eq!(codecs(vec![h264(1), aac]), ["H264", "MPEG-4 Audio", "Opus"]);
        assert_eq!(codecs(vec![h264(1), opus(2)]), ["H264", "Opus"]);
    }
}
