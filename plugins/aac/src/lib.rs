//! Has sound re-encoded so that every player finds a form that it can play: AAC, or Opus for browsers. See README.md.

use serde::Deserialize;
use wasmtx_plugin::transcoder::{Plan, Target, Transcoder};
use wasmtx_plugin::{Error, Media, Plugin, Publication, Track};

/// Bits per second that both codecs can do.
const BITRATES: std::ops::RangeInclusive<u32> = 8_000..=510_000;
/// Samples per second that AAC knows (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 12] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000,
];

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[derive(Default)]
struct Config {
    to: To,
    mode: Mode,
    /// None: all sound.
    tracks: Option<Vec<Rule>>,
    /// Of everything that is made; none: as the encoder finds good.
    bitrate: Option<u32>,
    /// Of AAC; none: as the source.
    sample_rate: Option<u32>,
    /// None: as the source.
    channels: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum To {
    #[default]
    Aac,
    Opus,
    Both,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The source stays.
    #[default]
    Add,
    Replace,
}

/// A track fits when all that is said is so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Rule {
    id: Option<u32>,
    /// As the API shows it.
    codec: Option<String>,
    language: Option<String>,
}

/// A codec that is made here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Aac,
    Opus,
}

struct Aac {
    config: Config,
}

impl Plugin for Aac {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.mode == Mode::Replace && config.to == To::Both {
            return Err(Error::invalid(
                "/mode",
                "a track is replaced by one other: let `to` be aac or opus, or add both",
            ));
        }
        let rules = config.tracks.as_deref();
        if rules.is_some_and(<[Rule]>::is_empty) {
            return Err(Error::invalid(
                "/tracks",
                "an empty list names no track; leave it out for all sound",
            ));
        }
        if let Some(number) = rules.unwrap_or_default().iter().position(Rule::is_empty) {
            return Err(Error::invalid(
                format!("/tracks/{number}"),
                "must say what the track is: id, codec or language",
            ));
        }
        if config.bitrate.is_some_and(|bitrate| !BITRATES.contains(&bitrate)) {
            let (low, high) = (BITRATES.start(), BITRATES.end());
            let message = format!("is in bits per second, {low} to {high}: 128000 is usual");
            return Err(Error::invalid("/bitrate", message));
        }
        if config.sample_rate.is_some_and(|rate| !SAMPLE_RATES.contains(&rate)) {
            return Err(Error::invalid(
                "/sampleRate",
                "is none of AAC's: 48000, 44100, 32000, …",
            ));
        }
        if config.channels.is_some_and(|channels| !(1..=8).contains(&channels)) {
            return Err(Error::invalid("/channels", "is 1 to 8"));
        }
        Ok(Self { config })
    }
}

impl Transcoder for Aac {
    fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        let sound = publication.tracks.iter().filter(|track| self.concerns(track));
        Ok(sound.flat_map(|track| self.plans(track)).collect())
    }
}

impl Aac {
    fn concerns(&self, track: &Track) -> bool {
        let is_made = extra(track, "madeOf").is_some();
        let rules = self.config.tracks.as_deref();
        track.media == Media::Audio && !is_made && rules.is_none_or(|rules| rules.iter().any(|rule| rule.fits(track)))
    }

    fn plans(&self, track: &Track) -> Vec<(u32, Plan)> {
        let forms: &[Form] = match self.config.to {
            To::Aac => &[Form::Aac],
            To::Opus => &[Form::Opus],
            To::Both => &[Form::Aac, Form::Opus],
        };
        let missing = forms.iter().filter(|form| form.codec() != track.codec);
        missing.map(|form| (track.id, self.plan(*form))).collect()
    }

    fn plan(&self, form: Form) -> Plan {
        let config = &self.config;
        let target = Target::codec(form.codec())
            .bitrate(config.bitrate.unwrap_or(0))
            .channels(config.channels.unwrap_or(0))
            // Opus has one clock, whatever it is made of.
            .sample_rate(if form == Form::Aac {
                config.sample_rate.unwrap_or(0)
            } else {
                0
            });
        match config.mode {
            Mode::Add => Plan::Add(target),
            Mode::Replace => Plan::Replace(target),
        }
    }
}

impl Form {
    /// The name that the API shows.
    fn codec(self) -> &'static str {
        match self {
            Form::Aac => "MPEG-4 Audio",
            Form::Opus => "Opus",
        }
    }
}

impl Rule {
    fn is_empty(&self) -> bool {
        let Rule { id, codec, language } = self;
        id.is_none() && codec.is_none() && language.is_none()
    }

    fn fits(&self, track: &Track) -> bool {
        let is_said = |wanted: &str| extra(track, "language").is_some_and(|said| said.eq_ignore_ascii_case(wanted));
        self.id.is_none_or(|id| id == track.id)
            && (self.codec.as_ref()).is_none_or(|codec| codec.eq_ignore_ascii_case(&track.codec))
            && self.language.as_deref().is_none_or(is_said)
    }
}

/// A field of a track that has no place of its own.
fn extra<'a>(track: &'a Track, name: &str) -> Option<&'a str> {
    let field = track.extra.iter().find(|(known, _)| known == name);
    field.map(|(_, value)| value.as_str())
}

wasmtx_plugin::export!(Aac: transcoder);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{configure, h264, opus, publication, transcoded};

    fn sound(id: u32, codec: &str, language: &str) -> Track {
        Track {
            codec: codec.into(),
            extra: vec![("language".into(), language.into())],
            ..opus(id)
        }
    }

    fn tracks() -> Vec<Track> {
        let data = Track {
            media: Media::Data,
            codec: "KLV".into(),
            ..h264(5)
        };
        vec![
            h264(1),
            opus(2),
            sound(3, "MPEG-4 Audio", "de"),
            sound(4, "G711", "EN"),
            data,
        ]
    }

    /// The tracks that readers are then offered.
    #[track_caller]
    fn check(config: &str, expected: &[(u32, &str)]) {
        let mut plugin: Aac = configure(config).unwrap();
        let tracks = transcoded(&mut plugin, publication("cam1", tracks())).unwrap();
        let offered: Vec<_> = tracks.iter().map(|track| (track.id, track.codec.as_str())).collect();
        assert_eq!(offered, expected, "{config}");
    }

    const OPUS: (u32, &str) = (2, "Opus");
    const AAC: (u32, &str) = (3, "MPEG-4 Audio");
    const G711: (u32, &str) = (4, "G711");
    const VIDEO: (u32, &str) = (1, "H264");
    const DATA: (u32, &str) = (5, "KLV");

    #[test]
    fn sound_that_is_not_aac_is_offered_as_aac_too() {
        let added = [VIDEO, OPUS, (6, "MPEG-4 Audio"), AAC, G711, (7, "MPEG-4 Audio"), DATA];
        check("", &added);
        check(r#"{"to":"aac","mode":"add"}"#, &added);
    }

    #[test]
    fn or_becomes_aac() {
        let replaced = [VIDEO, (6, "MPEG-4 Audio"), AAC, (7, "MPEG-4 Audio"), DATA];
        check(r#"{"mode":"replace"}"#, &replaced);
    }

    #[test]
    fn browsers_get_opus_of_what_is_not() {
        check(
            r#"{"to":"opus"}"#,
            &[VIDEO, OPUS, AAC, (6, "Opus"), G711, (7, "Opus"), DATA],
        );
        let both = [
            VIDEO,
            OPUS,
            (6, "MPEG-4 Audio"),
            AAC,
            (7, "Opus"),
            G711,
            (8, "MPEG-4 Audio"),
            (9, "Opus"),
            DATA,
        ];
        check(r#"{"to":"both"}"#, &both);
    }

    #[test]
    fn only_the_tracks_that_are_named_are_looked_at() {
        let one = [VIDEO, OPUS, AAC, G711, (6, "MPEG-4 Audio"), DATA];
        check(r#"{"tracks":[{"language":"en"}]}"#, &one);
        check(r#"{"tracks":[{"codec":"g711","id":4}]}"#, &one);
        check(r#"{"tracks":[{"codec":"MPEG-4 Audio"},{"id":4}]}"#, &one);
        check(r#"{"tracks":[{"id":1},{"id":5}]}"#, &[VIDEO, OPUS, AAC, G711, DATA]);
    }

    #[test]
    fn the_form_is_as_configured_and_else_as_the_source() {
        let target = |config: &str| {
            let mut plugin: Aac = configure(config).unwrap();
            let plans = plugin.decide(publication("cam1", [opus(2)])).unwrap();
            match &plans[..] {
                [(2, Plan::Add(target))] => (target.bitrate, target.sample_rate, target.channels),
                other => panic!("{config}: {other:?}"),
            }
        };
        assert_eq!(target(""), (0, 0, 0));
        let all = r#"{"bitrate":96000,"sampleRate":44100,"channels":1}"#;
        assert_eq!(target(all), (96_000, 44_100, 1));
        let mut plugin: Aac = configure(r#"{"to":"opus","sampleRate":44100}"#).unwrap();
        let plans = plugin.decide(publication("cam1", [sound(2, "G711", "de")])).unwrap();
        assert!(matches!(&plans[..], [(2, Plan::Add(target))] if target.sample_rate == 0));
    }

    #[test]
    fn what_another_plugin_makes_is_left_alone() {
        let made = Track {
            extra: vec![("madeOf".into(), "2".into())],
            ..opus(3)
        };
        let mut plugin: Aac = configure("").unwrap();
        let plans = plugin.decide(publication("cam1", [opus(2), made])).unwrap();
        assert_eq!(plans.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (r#"{"to":"mp3"}"#, "/to"),
            (r#"{"mode":"swap"}"#, "/mode"),
            (r#"{"mode":"replace","to":"both"}"#, "/mode"),
            (r#"{"tracks":[]}"#, "/tracks"),
            (r#"{"tracks":[{"id":1},{}]}"#, "/tracks/1"),
            (r#"{"tracks":[{"media":"audio"}]}"#, "/tracks/0/media"),
            (r#"{"bitrate":128}"#, "/bitrate"),
            (r#"{"bitrate":"128k"}"#, "/bitrate"),
            (r#"{"sampleRate":50000}"#, "/sampleRate"),
            (r#"{"channels":0}"#, "/channels"),
            (r#"{"bitRate":64000}"#, "/bitRate"),
        ] {
            match configure::<Aac>(config) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
