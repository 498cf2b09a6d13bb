//! Publishers and players of RTMP and FLV, by the lines that people type.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::{
    Clip, Codec, Tool, flv,
    frames::{Form, Packet, packets, parse},
    root, until,
};

/// Who publishes or plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    FFmpeg,
    /// One that speaks enhanced RTMP, which Debian's does not.
    NewFFmpeg,
    GStreamer,
    Rtmpdump,
}

/// The FFmpeg that `scripts/setup test` got.
fn new_ffmpeg() -> String {
    let program = root().join("target/players/ffmpeg");
    assert!(
        program.exists(),
        "{} is missing; `scripts/setup test` gets it",
        program.display()
    );
    program.to_str().expect("a path of ours").to_owned()
}

const OUTPUT: &str = "output";

impl Viewer {
    fn program(self) -> String {
        match self {
            Viewer::FFmpeg => "ffmpeg".to_owned(),
            Viewer::NewFFmpeg => new_ffmpeg(),
            Viewer::GStreamer => "gst-launch-1.0".to_owned(),
            Viewer::Rtmpdump => "rtmpdump".to_owned(),
        }
    }

    /// Publishes a clip to an RTMP URL at its own pace.
    #[track_caller]
    pub(crate) fn publish(self, url: &str, clip: &Clip) -> Tool {
        self.publish_files(url, &[clip], "")
    }

    /// Publishes the first tracks of some clips together, with options of FFmpeg's.
    #[track_caller]
    pub(crate) fn publish_files(self, url: &str, clips: &[&Clip], options: &str) -> Tool {
        let files = clips.iter().map(|clip| clip.file.to_str().expect("a path of ours"));
        match self {
            Viewer::FFmpeg | Viewer::NewFFmpeg => {
                let inputs = files.flat_map(|file| ["-re", "-i", file]);
                let mut line: Vec<String> = words("-nostdin -v warning").collect();
                line.extend(inputs.map(str::to_owned));
                if clips.len() > 1 {
                    line.extend((0..clips.len()).flat_map(|input| ["-map".to_owned(), format!("{input}:0")]));
                } else {
                    line.extend(words("-map 0"));
                }
                line.extend(words("-c copy").chain(words(options)).chain(words("-f flv")));
                line.push(url.to_owned());
                Tool::start(&self.program(), line)
            }
            Viewer::GStreamer => {
                let source = files.map(|file| format!("filesrc location={file} ! qtdemux ! h264parse"));
                let line = source.collect::<String>()
                    + " ! video/x-h264,stream-format=avc,alignment=au ! identity sync=true ! flvmux streamable=true";
                let sink = ["!".to_owned(), "rtmp2sink".to_owned(), format!("location={url}")];
                Tool::start(&self.program(), words("-q").chain(words(&line)).chain(sink))
            }
            Viewer::Rtmpdump => unreachable!("rtmpdump does not publish"),
        }
    }

    /// Plays so many packets of the first stream of a kind (`v` or `a`), of a codec, from a URL.
    #[track_caller]
    pub(crate) fn view(self, url: &str, codec: Codec, count: usize) -> Viewing {
        let kind = if codec.is_video() { "v" } else { "a" };
        let form = Form::of(codec);
        let tool = match self {
            Viewer::FFmpeg | Viewer::NewFFmpeg => {
                // FFmpeg does not say by itself what it knows.
                let known = self == Viewer::NewFFmpeg && url.starts_with("rtmp");
                let known = words(if known {
                    "-rtmp_enhanced_codecs av01,hvc1,vp09,Opus,fLaC,ac-3"
                } else {
                    ""
                });
                // To guess what the stream is like takes FFmpeg five seconds of it, and nobody here wants to know.
                let input = words("-nostdin -v warning -fpsprobesize 0 -analyzeduration 1000000").chain(known);
                let input = input.chain(["-i".to_owned(), url.to_owned()]);
                let line = format!("-map 0:{kind}:0 -c copy -frames:{kind} {count}");
                let filter = form.filter().iter().map(|word| (*word).to_owned());
                let output = words("-f framehash -hash sha256").chain([OUTPUT.to_owned()]);
                Tool::start(&self.program(), input.chain(words(&line)).chain(filter).chain(output))
            }
            Viewer::GStreamer => {
                let source = words("-q rtmp2src").chain([format!("location={url}")]);
                // The picture at which the end is reached does not pass any more.
                let sink = format!(
                    "! flvdemux ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au \
                     ! identity eos-after={} ! filesink location={OUTPUT}",
                    count + 1
                );
                Tool::start(&self.program(), source.chain(words(&sink)))
            }
            Viewer::Rtmpdump => {
                let line = words("-q --live -o").chain([OUTPUT.to_owned(), "-r".to_owned(), url.to_owned()]);
                Tool::start(&self.program(), line)
            }
        };
        Viewing {
            output: tool.file(OUTPUT),
            tool,
            viewer: self,
            form,
            count,
        }
    }
}

/// The words of a line, none of which has a space.
fn words(line: &str) -> impl Iterator<Item = String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    words.into_iter()
}

/// A player that plays.
pub(crate) struct Viewing {
    pub(crate) tool: Tool,
    output: PathBuf,
    viewer: Viewer,
    form: Form,
    count: usize,
}

impl Viewing {
    /// Waits for its end and answers what it got.
    #[track_caller]
    pub(crate) fn packets(mut self) -> Vec<Packet> {
        let (viewer, form) = (self.viewer, self.form);
        let file = self.file();
        match viewer {
            Viewer::FFmpeg | Viewer::NewFFmpeg => parse(&std::fs::read_to_string(file).unwrap_or_default()),
            Viewer::GStreamer | Viewer::Rtmpdump => packets(file, form),
        }
    }

    /// Waits for its end and answers the file that it wrote, which is gone with this.
    #[track_caller]
    pub(crate) fn file(&mut self) -> &Path {
        if self.viewer == Viewer::Rtmpdump {
            // It plays until it is interrupted, and then ends with a whole tag.
            until("rtmpdump has enough", || {
                let file = std::fs::read(&self.output).unwrap_or_default();
                let frames = flv::tags(&file)
                    .iter()
                    .filter(|tag| tag.is_video() && tag.is_frame())
                    .count();
                (frames >= self.count).then_some(())
            });
            self.tool.signal(Signal::INT);
        }
        self.tool.wait();
        &self.output
    }

    /// Likewise, the hashes alone.
    #[track_caller]
    pub(crate) fn hashes(self) -> Vec<String> {
        self.packets().into_iter().map(|packet| packet.hash).collect()
    }
}
