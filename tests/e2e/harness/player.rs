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
}

impl Transport {
    pub(crate) const ALL: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Tls];

    /// As FFmpeg and GStreamer call it.
    fn name(self) -> &'static str {
        match self {
            Transport::Tcp | Transport::Tls => "tcp",
            Transport::Udp => "udp",
        }
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
                let line = [
                    "-nostdin",
                    "-v",
                    "warning",
                    "-re",
                    "-i",
                    file,
                    "-c",
                    "copy",
                    "-strict",
                    "experimental",
                ];
                Tool::start(
                    "ffmpeg",
                    line.into_iter()
                        .chain(["-f", "rtsp", "-rtsp_transport", transport.name(), url]),
                )
            }
            Player::GStreamer => {
                let parser = match clip.codec {
                    Codec::H264 => "h264parse",
                    Codec::H265 => "h265parse",
                    other => unreachable!("{other:?} is published by FFmpeg"),
                };
                let line = format!("-q filesrc location={file} ! qtdemux ! {parser} ! rtspclientsink");
                let words = line.split(' ').map(str::to_owned);
                let sink = [format!("location={url}"), format!("protocols={}", transport.name())];
                let tls = (transport == Transport::Tls).then(|| "tls-validation-flags=0".to_owned());
                Tool::start("gst-launch-1.0", words.chain(sink).chain(tls))
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
                let count = pictures.to_string();
                // To guess the frame rate takes FFmpeg twenty pictures, and nobody here wants to know it.
                let input = ["-nostdin", "-v", "warning", "-fpsprobesize", "0"];
                let input = input
                    .into_iter()
                    .chain(["-rtsp_transport", transport.name(), "-i", url, "-map", "0:v:0"]);
                let output = ["-c", "copy", "-frames:v", &count, "-f", "h264", OUTPUT];
                Tool::start("ffmpeg", input.chain(output))
            }
            Player::GStreamer => {
                // The picture at which the end is reached does not pass any more.
                let count = format!("eos-after={}", pictures + 1);
                let source = ["-q", "rtspsrc", "latency=100"].map(str::to_owned);
                let location = [format!("location={url}"), format!("protocols={}", transport.name())];
                let tls = (transport == Transport::Tls).then(|| "tls-validation-flags=0".to_owned());
                let rest = [
                    "!",
                    "rtph264depay",
                    "!",
                    "h264parse",
                    "!",
                    BYTE_STREAM,
                    "!",
                    "identity",
                    &count,
                ];
                let file = ["!", "filesink", "location=output.h264"];
                let rest = rest.into_iter().chain(file).map(str::to_owned);
                Tool::start(
                    "gst-launch-1.0",
                    source.into_iter().chain(location).chain(tls).chain(rest),
                )
            }
        };
        Reading {
            output: tool.file(OUTPUT),
            tool,
        }
    }
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
        self.tool.succeed();
        hashes_of(&self.output, Codec::H264)
    }
}
