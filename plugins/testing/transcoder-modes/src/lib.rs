//! A transcoder that decides as it is told, `{ mode: <one of Mode> }`.

use std::hint::black_box;

use serde::Deserialize;
use wasmtx_plugin::transcoder::{Plan, Target, Transcoder};
use wasmtx_plugin::{Error, Media, Plugin, Publication};

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Names no track.
    #[default]
    Nothing,
    /// Names every track, to keep it.
    Keep,
    /// Drops the sound.
    DropAudio,
    DropAll,
    /// Opus is offered beside sound.
    Add,
    /// Sound becomes Opus, video H264 of a megabit a second.
    Replace,
    /// Two smaller pictures beside each video track.
    Ladder,
    /// Plans for tracks that there are not, several for one, and codecs that nobody has.
    Garbage,
    /// A hundred thousand additions.
    Many,
    Refuse,
    Trap,
    Spin,
    Grow,
    /// Logs what it is asked, then names no track.
    Tell,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mode: Mode,
}

struct TranscoderModes {
    mode: Mode,
}

impl Plugin for TranscoderModes {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { mode: config.mode })
    }
}

impl Transcoder for TranscoderModes {
    fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        let tracks = || publication.tracks.iter();
        let of = |media| tracks().filter(move |track| track.media == media).map(|track| track.id);
        Ok(match self.mode {
            Mode::Nothing => Vec::new(),
            Mode::Keep => tracks().map(|track| (track.id, Plan::Keep)).collect(),
            Mode::DropAudio => of(Media::Audio).map(|id| (id, Plan::Drop)).collect(),
            Mode::DropAll => tracks().map(|track| (track.id, Plan::Drop)).collect(),
            Mode::Add => of(Media::Audio)
                .map(|id| (id, Plan::Add(Target::codec("Opus").bitrate(64_000))))
                .collect(),
            Mode::Replace => {
                let sound = of(Media::Audio).map(|id| (id, Plan::Replace(Target::codec("Opus"))));
                let picture = Target::codec("H264").bitrate(1_000_000);
                let pictures = of(Media::Video).map(|id| (id, Plan::Replace(picture.clone())));
                sound.chain(pictures).collect()
            }
            Mode::Ladder => {
                let rung = |width, height, bitrate| Target::codec("H264").size(width, height).bitrate(bitrate);
                let rungs = [rung(1280, 720, 1_500_000), rung(640, 360, 500_000)];
                of(Media::Video)
                    .flat_map(|id| rungs.clone().map(|target| (id, Plan::Add(target))))
                    .collect()
            }
            Mode::Garbage => garbage(of(Media::Video).next().unwrap_or(1)),
            Mode::Many => {
                let id = tracks().next().map_or(0, |track| track.id);
                (0..100_000).map(|_| (id, Plan::Add(Target::codec("H264")))).collect()
            }
            Mode::Refuse => return Err(Error::other("refused as asked")),
            Mode::Trap => panic!("{} is not to my liking", publication.path),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Grow => {
                let mut taken: Vec<Vec<u8>> = Vec::new();
                loop {
                    taken.push(black_box(vec![1; 1 << 20]));
                }
            }
            Mode::Tell => {
                wasmtx_plugin::info!("{publication:?}");
                Vec::new()
            }
        })
    }
}

fn garbage(id: u32) -> Vec<(u32, Plan)> {
    let huge = Target {
        bitrate: u32::MAX,
        width: u32::MAX,
        height: 1,
        channels: u32::MAX,
        sample_rate: 7,
        ..Target::codec("\u{1b}[31mH264\0\n")
    };
    vec![
        (u32::MAX, Plan::Keep),
        (id, Plan::Drop),
        (id, Plan::Replace(huge.clone())),
        (id, Plan::Add(huge)),
        (id, Plan::Add(Target::codec(""))),
        (id, Plan::Add(Target::codec("H264".repeat(100_000)))),
        (id, Plan::Keep),
    ]
}

wasmtx_plugin::export!(TranscoderModes: transcoder);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{configure, h264, opus, publication, transcoded};

    fn widths(mode: &str) -> Result<Vec<u32>, Error> {
        let mut plugin: TranscoderModes = configure(&format!(r#"{{"mode":"{mode}"}}"#)).unwrap();
        let tracks = transcoded(&mut plugin, publication("cam", [h264(1), opus(2)]))?;
        Ok(tracks.iter().map(|track| track.width).collect())
    }

    #[test]
    fn plans_are_as_told() {
        for (mode, expected) in [
            ("nothing", vec![1280, 0]),
            ("keep", vec![1280, 0]),
            ("drop-audio", vec![1280]),
            ("drop-all", vec![]),
            ("replace", vec![1280, 0]),
            ("add", vec![1280, 0, 0]),
            ("ladder", vec![1280, 1280, 640, 0]),
        ] {
            assert_eq!(widths(mode).unwrap(), expected, "{mode}");
        }
        assert!(widths("garbage").is_err());
        assert!(widths("refuse").is_err());
    }
}
