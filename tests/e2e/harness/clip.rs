//! The clips that are published, each made once per run by a fixed FFmpeg line.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use bytes::Bytes;

use super::{
    folder,
    frames::{Form, Packet, packets, packets_of},
    tool,
};

/// What a clip is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    /// With B-frames, a keyframe each second.
    H264,
    /// With B-frames, a keyframe each second.
    H265,
    Av1,
    Vp8,
    Vp9,
    Mjpeg,
    Aac,
    Opus,
    /// G711, µ-law.
    Ulaw,
    /// G711, A-law.
    Alaw,
    /// Linear PCM, 16 bits.
    L16,
    /// MPEG-1 layer 3.
    Mp3,
    Flac,
    Ac3,
    /// H264 and AAC.
    Both,
    /// H264 and Opus, which is [a tone](TONE).
    Tone,
}

/// Hertz of the tone of [`Codec::Tone`].
pub(crate) const TONE: f64 = 1_000.0;

/// Pictures per second of every clip.
pub(crate) const RATE: usize = 25;

/// A clip and its frames.
pub(crate) struct Clip {
    pub(crate) codec: Codec,
    pub(crate) file: PathBuf,
}

impl Codec {
    /// The clip of this codec.
    pub(crate) fn clip(self) -> Arc<Clip> {
        type Slot = Arc<OnceLock<Arc<Clip>>>;
        static CLIPS: LazyLock<Mutex<HashMap<Codec, Slot>>> = LazyLock::new(Mutex::default);
        let slot = Arc::clone(CLIPS.lock().expect("no test panics here").entry(self).or_default());
        Arc::clone(slot.get_or_init(|| Arc::new(Clip::make(self))))
    }

    /// FFmpeg's arguments, and how the file ends.
    fn recipe(self) -> (&'static [&'static str], &'static str) {
        match self {
            Codec::H264 => (
                &[
                    "-t", "20", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-b:v", "400k",
                ],
                "mp4",
            ),
            Codec::H265 => (
                &[
                    "-t",
                    "10",
                    "-c:v",
                    "libx265",
                    "-preset",
                    "ultrafast",
                    "-x265-params",
                    "bframes=2:keyint=25:log-level=none",
                ],
                "mp4",
            ),
            Codec::Av1 => (
                &[
                    "-t",
                    "4",
                    "-c:v",
                    "libaom-av1",
                    "-cpu-used",
                    "8",
                    "-usage",
                    "realtime",
                    "-g",
                    "25",
                    "-b:v",
                    "200k",
                ],
                "mkv",
            ),
            Codec::Vp8 => (
                &[
                    "-t",
                    "10",
                    "-c:v",
                    "libvpx",
                    "-deadline",
                    "realtime",
                    "-cpu-used",
                    "8",
                    "-g",
                    "25",
                    "-b:v",
                    "300k",
                ],
                "mkv",
            ),
            Codec::Vp9 => (
                &[
                    "-t",
                    "10",
                    "-c:v",
                    "libvpx-vp9",
                    "-deadline",
                    "realtime",
                    "-cpu-used",
                    "8",
                    "-g",
                    "25",
                    "-b:v",
                    "300k",
                ],
                "mkv",
            ),
            Codec::Mjpeg => (
                &[
                    "-t", "10", "-c:v", "mjpeg", "-huffman", "default", "-pix_fmt", "yuvj420p", "-q:v", "6",
                ],
                "mkv",
            ),
            Codec::Aac => (&["-t", "10", "-c:a", "aac", "-b:a", "64k"], "mp4"),
            Codec::Opus => (&["-t", "10", "-c:a", "libopus", "-b:a", "48k"], "mkv"),
            Codec::Ulaw => (&["-t", "10", "-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"], "wav"),
            Codec::Alaw => (&["-t", "10", "-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"], "wav"),
            Codec::L16 => (&["-t", "10", "-c:a", "pcm_s16be", "-ar", "44100", "-ac", "2"], "au"),
            Codec::Mp3 => (
                &["-t", "10", "-c:a", "libmp3lame", "-ar", "44100", "-b:a", "64k"],
                "mp3",
            ),
            Codec::Flac => (&["-t", "10", "-c:a", "flac"], "mkv"),
            Codec::Ac3 => (&["-t", "10", "-c:a", "ac3", "-b:a", "96k"], "mkv"),
            Codec::Both => (
                &[
                    "-t", "20", "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "25", "-b:v", "400k",
                    "-c:a", "aac", "-b:a", "64k",
                ],
                "mp4",
            ),
            Codec::Tone => (
                &[
                    "-t",
                    "60",
                    "-c:v",
                    "libx264",
                    "-preset",
                    "ultrafast",
                    "-bf",
                    "0",
                    "-g",
                    "25",
                    "-b:v",
                    "200k",
                    "-c:a",
                    "libopus",
                    "-b:a",
                    "96k",
                ],
                "mp4",
            ),
        }
    }

    /// Whether there are pictures in it.
    pub(super) fn is_video(self) -> bool {
        use Codec::{Aac, Ac3, Alaw, Flac, L16, Mp3, Opus, Ulaw};
        !matches!(self, Aac | Opus | Ulaw | Alaw | L16 | Mp3 | Flac | Ac3)
    }
}

impl Clip {
    fn make(codec: Codec) -> Clip {
        let (recipe, ending) = codec.recipe();
        let file = folder::shared(&format!("{codec:?}.{ending}"));
        // Pictures that all differ, and noise that never repeats.
        let pictures = format!("testsrc2=size=320x240:rate={RATE}");
        let sound = match codec {
            Codec::Tone => format!("sine=frequency={TONE}:sample_rate=48000"),
            _ => "anoisesrc=sample_rate=48000:seed=7:amplitude=0.3".to_owned(),
        };
        let mut line = vec!["-v", "error", "-y"];
        if codec.is_video() {
            line.extend(["-f", "lavfi", "-i", &pictures]);
        }
        if !codec.is_video() || matches!(codec, Codec::Both | Codec::Tone) {
            line.extend(["-f", "lavfi", "-i", &sound]);
        }
        line.extend(["-flags", "+bitexact", "-threads", "1"]);
        line.extend(recipe);
        let mut line: Vec<_> = line.iter().map(AsRef::<Path>::as_ref).collect();
        line.push(&file);
        tool::run("ffmpeg", line);
        Clip { codec, file }
    }

    /// Its packets in coding order, as the file has them: for every codec but those with parameter sets in the stream this
    /// is the one form that frames have everywhere.
    pub(crate) fn packets(&self) -> Vec<Packet> {
        packets(&self.file, Form::AsStored)
    }

    /// The hashes of its packets.
    pub(crate) fn packet_hashes(&self) -> Vec<String> {
        self.packets().into_iter().map(|packet| packet.hash).collect()
    }

    /// The hashes of its packets in the form of players (see [`super::hashes_of`]).
    pub(crate) fn hashes(&self) -> Vec<String> {
        super::hashes_of(&self.file, self.codec)
    }

    /// The hashes of the sound that is in it beside the pictures.
    pub(crate) fn sound_hashes(&self) -> Vec<String> {
        let packets = packets_of(&self.file, 1, Form::AsStored);
        packets.into_iter().map(|packet| packet.hash).collect()
    }

    /// Which of its packets are keyframes.
    pub(crate) fn keyframes(&self) -> Vec<usize> {
        let line = [
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=flags",
            "-of",
            "csv=p=0",
        ];
        let output = tool::run(
            "ffprobe",
            line.map(AsRef::<Path>::as_ref).into_iter().chain([self.file.as_ref()]),
        );
        let flags = String::from_utf8_lossy(&output).into_owned();
        let keys = flags.lines().enumerate().filter(|(_, flags)| flags.starts_with('K'));
        keys.map(|(number, _)| number).collect()
    }

    /// The packets themselves.
    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        let line = ["-v", "error", "-i"].map(AsRef::<Path>::as_ref);
        let rest = ["-map", "0:0", "-c", "copy", "-f", "data", "-"].map(AsRef::<Path>::as_ref);
        let mut stream = Bytes::from(tool::run(
            "ffmpeg",
            line.into_iter().chain([self.file.as_ref()]).chain(rest),
        ));
        self.packets()
            .iter()
            .map(|packet| stream.split_to(packet.size))
            .collect()
    }
}
