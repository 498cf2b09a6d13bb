//! Keeps some tracks of a stream and drops the others, by what they are. See README.md.

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Interest, Opening};
use wasmtx_plugin::{Error, Media, Plugin, Publication, Track};

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Config {
    /// None: all.
    keep: Option<Vec<Rule>>,
    /// Of those that are kept.
    drop: Vec<Rule>,
    /// Of each of these one track stays, the first, of video the largest.
    one: Vec<Media>,
}

/// A track fits when all that is said is so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[derive(Default)]
struct Rule {
    media: Option<Media>,
    /// As the API shows it.
    codec: Option<String>,
    id: Option<u32>,
    language: Option<String>,
    max_width: Option<u32>,
    max_height: Option<u32>,
}

struct TrackSelect {
    config: Config,
}

impl Plugin for TrackSelect {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.keep.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid(
                "/keep",
                "an empty list keeps nothing; leave it out to keep everything",
            ));
        }
        let rules = |key, rules: &[Rule]| {
            let says_nothing = rules.iter().position(Rule::is_empty);
            says_nothing.map(|number| Error::invalid(format!("/{key}/{number}"), "must say what the track is"))
        };
        match rules("keep", config.keep.as_deref().unwrap_or_default()).or_else(|| rules("drop", &config.drop)) {
            Some(error) => Err(error),
            None => Ok(Self { config }),
        }
    }
}

/// All is said when the stream begins: no frame is ever shown.
impl Filter for TrackSelect {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let kept = self.select(&publication.tracks);
        let interests = publication.tracks.iter().map(|track| match kept.contains(&track.id) {
            true => Interest::pass(track.id),
            false => Interest::discard(track.id),
        });
        let opening = Opening::with(interests);
        if kept.len() == publication.tracks.len() {
            return Ok(opening);
        }
        // A stream needs a track, and an error would let everything through by default: then a silent one it is.
        if kept.is_empty() {
            wasmtx_plugin::warn!("{} has no track that is to be kept", publication.path);
            return Ok(opening);
        }
        Ok(opening.announcing(
            publication
                .tracks
                .into_iter()
                .filter(|track| kept.contains(&track.id))
                .collect(),
        ))
    }
}

impl TrackSelect {
    /// The ids of those that stay.
    fn select(&self, tracks: &[Track]) -> Vec<u32> {
        let fits = |rules: &[Rule], track: &Track| rules.iter().any(|rule| rule.fits(track));
        let mut kept: Vec<&Track> = (tracks.iter())
            .filter(|track| self.config.keep.as_ref().is_none_or(|rules| fits(rules, track)))
            .filter(|track| !fits(&self.config.drop, track))
            .collect();
        for media in &self.config.one {
            let size = |track: &Track| u64::from(track.width) * u64::from(track.height);
            // Of equals the last is the largest to `max_by_key`, and the first should stay.
            let best = kept
                .iter()
                .rev()
                .filter(|track| track.media == *media)
                .max_by_key(|track| size(track));
            let best = best.map(|track| track.id);
            kept.retain(|track| track.media != *media || Some(track.id) == best);
        }
        kept.into_iter().map(|track| track.id).collect()
    }
}

impl Rule {
    fn is_empty(&self) -> bool {
        let Rule {
            media,
            codec,
            id,
            language,
            max_width,
            max_height,
        } = self;
        media.is_none()
            && codec.is_none()
            && id.is_none()
            && language.is_none()
            && max_width.is_none()
            && max_height.is_none()
    }

    fn fits(&self, track: &Track) -> bool {
        let language = || {
            track
                .extra
                .iter()
                .find(|(name, _)| name == "language")
                .map(|(_, language)| language)
        };
        let is_said = |wanted: &str| language().is_some_and(|language| language.eq_ignore_ascii_case(wanted));
        self.media.is_none_or(|media| media == track.media)
            && self.codec.as_ref().is_none_or(|codec| codec.eq_ignore_ascii_case(&track.codec))
            && self.id.is_none_or(|id| id == track.id)
            && self.language.as_deref().is_none_or(is_said)
            // Sizes that are not known yet are 0, and known as soon as there is a picture: then this is asked again.
            && self.max_width.is_none_or(|most| track.media == Media::Video && track.width <= most)
            && self.max_height.is_none_or(|most| track.media == Media::Video && track.height <= most)
    }
}

wasmtx_plugin::export!(TrackSelect: filter);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Stream, configure, h264, key, opus, publication, take_log};

    fn video(id: u32, width: u32, height: u32) -> Track {
        Track {
            width,
            height,
            ..h264(id)
        }
    }

    fn sound(id: u32, language: &str) -> Track {
        Track {
            extra: vec![("language".into(), language.into())],
            ..opus(id)
        }
    }

    fn tracks() -> Vec<Track> {
        let data = Track {
            media: Media::Data,
            codec: "KLV".into(),
            ..h264(6)
        };
        vec![
            video(1, 640, 360),
            video(2, 1920, 1080),
            sound(3, "de"),
            sound(4, "EN"),
            opus(5),
            data,
        ]
    }

    /// Which tracks are announced and pass.
    #[track_caller]
    fn check(config: &str, expected: &[u32]) {
        let filter: TrackSelect = configure(config).unwrap();
        let mut stream = Stream::open(filter, publication("cam1", tracks())).unwrap();
        let announced: Vec<u32> = stream.tracks().iter().map(|track| track.id).collect();
        assert_eq!(announced, expected, "{config}");
        for id in 1..=6 {
            let passes = !stream.push(key(id, 0), b"frame").unwrap().is_empty();
            assert_eq!(passes, expected.contains(&id), "{config}: track {id}");
        }
        assert_eq!(stream.shown(), 0, "no frame costs a call");
    }

    #[test]
    fn what_fits_stays() {
        check("", &[1, 2, 3, 4, 5, 6]);
        check(r#"{"keep":[{"media":"video"}]}"#, &[1, 2]);
        check(r#"{"keep":[{"codec":"opus","language":"en"},{"id":6}]}"#, &[4, 6]);
        check(r#"{"keep":[{"maxWidth":1280,"maxHeight":720}]}"#, &[1]);
        check(r#"{"keep":[{"media":"video","maxHeight":1080}]}"#, &[1, 2]);
    }

    #[test]
    fn what_is_to_be_dropped_goes_even_if_it_fits() {
        check(r#"{"drop":[{"media":"audio"}]}"#, &[1, 2, 6]);
        check(r#"{"keep":[{"media":"audio"}],"drop":[{"language":"DE"}]}"#, &[4, 5]);
        check(r#"{"drop":[{"codec":"H265"}]}"#, &[1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn of_several_one_stays() {
        check(r#"{"one":["video","audio"]}"#, &[2, 3, 6]);
        check(
            r#"{"keep":[{"maxWidth":1280},{"media":"audio"}],"one":["video"]}"#,
            &[1, 3, 4, 5],
        );
    }

    #[test]
    fn of_equals_the_first_stays() {
        let filter: TrackSelect = configure(r#"{"one":["video"]}"#).unwrap();
        let stream = Stream::open(filter, publication("cam1", [h264(7), h264(8)])).unwrap();
        assert_eq!(stream.tracks(), [h264(7)]);
    }

    #[test]
    fn a_stream_without_a_track_to_keep_falls_silent() {
        let filter: TrackSelect = configure(r#"{"keep":[{"codec":"AV1"}]}"#).unwrap();
        let mut stream = Stream::open(filter, publication("cam1", [h264(1)])).unwrap();
        assert!(stream.push(key(1, 0), b"picture").unwrap().is_empty());
        assert_eq!(take_log().len(), 1);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (r#"{"keep":[]}"#, "/keep"),
            (r#"{"keep":[{"id":1},{}]}"#, "/keep/1"),
            (r#"{"drop":[{}]}"#, "/drop/0"),
            (r#"{"drop":[{"media":"sound"}]}"#, "/drop/0/media"),
            (r#"{"drop":[{"maxwidth":1}]}"#, "/drop/0/maxwidth"),
            (r#"{"one":"video"}"#, "/one"),
        ] {
            match configure::<TrackSelect>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
