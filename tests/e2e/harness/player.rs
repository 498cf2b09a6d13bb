//! FFmpeg and GStreamer as publishers and readers, by the lines that people type.

use std::path::PathBuf;

use super::{Clip, Codec, Server, Tool, hashes_of};

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    FFmpeg,
    GStreamer,
}

/// How the media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Inside the connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// Inside a TLS connection.
    Tls,
    /// As the player likes, which is datagrams first.
    Any,
}

impl Transport {
    pub(crate) const ALL: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Tls];

    fn for_ffmpeg(self) -> impl Iterator<Item = String> {
        words(match self {
            Transport::Tcp | Transport::Tls => "-rtsp_transport tcp",
            Transport::Udp => "-rtsp_transport udp",
            Transport::Any => "",
        })
    }

    fn for_gstreamer(self) -> impl Iterator<Item = String> {
        words(match self {
            Transport::Tcp => "protocols=tcp",
            Transport::Udp => "protocols=udp",
            Transport::Tls => "protocols=tcp tls-validation-flags=0",
            Transport::Any => "",
        })
    }
}

impl Player {
    pub(crate) const ALL: [Player; 2] = [Player::FFmpeg, Player::GStreamer];

    /// Publishes a clip at its own pace.
    #[track_caller]
    pub(crate) fn publish(self, server: &Server, transport: Transport, path: &str, clip: &Clip) -> Tool {
        self.publish_to(&server.url(transport, path), transport, clip)
    }

    /// Publishes a clip at its own pace to a URL that may have a user and a query.
    #[track_caller]
    pub(crate) fn publish_to(self, url: &str, transport: Transport, clip: &Clip) -> Tool {
        let file = clip.file.to_str().expect("a path of ours");
        match self {
            Player::FFmpeg => {
                let input = words("-nostdin -v warning -re -i").chain([file.to_owned()]);
                let output = words("-c copy -strict experimental -f rtsp").chain(transport.for_ffmpeg());
                Tool::start("ffmpeg", input.chain(output).chain([url.to_owned()]))
            }
            Player::GStreamer => {
                let parser = match clip.codec {
                    Codec::H264 => "h264parse",
                    Codec::H265 => "h265parse",
                    other => unreachable!("{other:?} is published by FFmpeg"),
                };
                let source = words("-q filesrc").chain([format!("location={file}")]);
                let middle = words("! qtdemux !")
                    .chain(words(parser))
                    .chain(words("! rtspclientsink"));
                let sink = [format!("location={url}")].into_iter().chain(transport.for_gstreamer());
                Tool::start("gst-launch-1.0", source.chain(middle).chain(sink))
            }
        }
    }

    /// Reads so many pictures of an H264 stream, then ends.
    #[track_caller]
    pub(crate) fn read(self, server: &Server, transport: Transport, path: &str, pictures: usize) -> Reading {
        self.read_from(&server.url(transport, path), transport, pictures)
    }

    /// Reads so many pictures of an H264 stream from a URL that may have a user and a query, then ends.
    #[track_caller]
    pub(crate) fn read_from(self, url: &str, transport: Transport, pictures: usize) -> Reading {
        let tool = match self {
            Player::FFmpeg => {
                // To guess the frame rate takes FFmpeg twenty pictures, and nobody here wants to know it.
                let input = words("-nostdin -v warning -fpsprobesize 0").chain(transport.for_ffmpeg());
                let input = input.chain(["-i".to_owned(), url.to_owned()]);
                let output = format!("-map 0:v:0 -c copy -frames:v {pictures} -f h264 {OUTPUT}");
                Tool::start("ffmpeg", input.chain(words(&output)))
            }
            Player::GStreamer => {
                let source = words("-q rtspsrc latency=100").chain([format!("location={url}")]);
                // The picture at which the end is reached does not pass any more.
                let sink = format!(
                    "! rtph264depay ! h264parse ! {BYTE_STREAM} ! identity eos-after={} ! filesink location={OUTPUT}",
                    pictures + 1
                );
                Tool::start(
                    "gst-launch-1.0",
                    source.chain(transport.for_gstreamer()).chain(words(&sink)),
                )
            }
        };
        Reading {
            output: tool.file(OUTPUT),
            tool,
        }
    }
}

/// The words of a line, none of which has a space.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

const OUTPUT: &str = "output.h264";
const BYTE_STREAM: &str = "video/x-h264,stream-format=byte-stream,alignment=au";

/// A player that reads.
pub(crate) struct Reading {
    pub(crate) tool: Tool,
    output: PathBuf,
}

impl Reading {
    /// Waits for its end and answers the hashes of what it read.
    #[track_caller]
    pub(crate) fn hashes(mut self) -> Vec<String> {
        // Not its status: GStreamer 1.22 sometimes interrupts its own PAUSE when it ends, and reports that as a failure.
        self.tool.wait();
        hashes_of(&self.output, Codec::H264)
    }
}
