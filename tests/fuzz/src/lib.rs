//! One function per parser or machine that reads what strangers send.
//!
//! To add a target: write a `fn(&[u8])` that panics when an oracle is broken, add **one line** to [`TARGETS`], and put
//! seeds into `corpus/<name>/`, one file each. Everything else follows: `tests/gate.rs` runs every target over every
//! seed, every truncation of every seed, and 20,000 seeded mutations; `make fuzz T=<name>` lets libFuzzer search for a
//! minute, guided by coverage.
//!
//! A function takes any bytes and returns quickly. It checks what comes out, not only that nothing panics: what was
//! parsed and printed parses to the same, no split of the input changes the result, bounds hold, machines keep their
//! promises.

mod codec;
mod flv;
mod media;
mod mp4;
mod mpegts;
mod mutate;
mod recorded;
mod recording;
mod rtmp;
mod rtmp_session;
mod rtp;
mod rtsp;
mod rtsp_session;
mod websocket;

use std::path::PathBuf;

pub use mutate::Mutator;

/// Something to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// What `make fuzz T=` calls it, and the name of its folder of seeds.
    pub name: &'static str,
    /// Panics when the input breaks an oracle.
    pub run: fn(&[u8]),
}

/// All targets, grouped by protocol.
pub const TARGETS: &[Target] = &[
    Target {
        name: "rtsp_message",
        run: rtsp::message,
    },
    Target {
        name: "rtsp_framer",
        run: rtsp::framer,
    },
    Target {
        name: "rtsp_transport",
        run: rtsp::transport,
    },
    Target {
        name: "rtsp_auth",
        run: rtsp::auth,
    },
    Target {
        name: "rtsp_headers",
        run: rtsp::headers,
    },
    Target {
        name: "rtsp_url",
        run: rtsp::url,
    },
    Target {
        name: "rtsp_digest",
        run: rtsp::digest,
    },
    Target {
        name: "sdp",
        run: rtsp::sdp,
    },
    Target {
        name: "rtsp_session",
        run: rtsp_session::server,
    },
    Target {
        name: "rtsp_client",
        run: rtsp_session::client,
    },
    Target {
        name: "rtp_packet",
        run: rtp::packet,
    },
    Target {
        name: "rtcp",
        run: rtp::control,
    },
    Target {
        name: "depacketize_h264",
        run: rtp::depacketize_h264,
    },
    Target {
        name: "depacketize_h265",
        run: rtp::depacketize_h265,
    },
    Target {
        name: "depacketize_av1",
        run: rtp::depacketize_av1,
    },
    Target {
        name: "depacketize_vpx",
        run: rtp::depacketize_vpx,
    },
    Target {
        name: "depacketize_aac",
        run: rtp::depacketize_aac,
    },
    Target {
        name: "depacketize_rest",
        run: rtp::depacketize_rest,
    },
    Target {
        name: "reorder",
        run: rtp::reorder,
    },
    Target {
        name: "packetize",
        run: rtp::packetize,
    },
    Target {
        name: "rtmp_handshake",
        run: rtmp::handshake,
    },
    Target {
        name: "rtmp_chunks",
        run: rtmp::chunks,
    },
    Target {
        name: "amf0",
        run: rtmp::amf0,
    },
    Target {
        name: "rtmp_messages",
        run: rtmp::messages,
    },
    Target {
        name: "rtmp_url",
        run: rtmp::url,
    },
    Target {
        name: "rtmp_session",
        run: rtmp_session::server,
    },
    Target {
        name: "rtmp_client",
        run: rtmp_session::client,
    },
    Target {
        name: "h264",
        run: media::h264,
    },
    Target {
        name: "h265",
        run: media::h265,
    },
    Target {
        name: "av1",
        run: media::av1,
    },
    Target {
        name: "aac",
        run: media::aac,
    },
    Target {
        name: "containers",
        run: media::containers,
    },
    Target {
        name: "codec_wire",
        run: codec::wire,
    },
    Target {
        name: "codec_clock",
        run: codec::clock,
    },
    Target {
        name: "flv",
        run: flv::stream,
    },
    Target {
        name: "mp4",
        run: mp4::file,
    },
    Target {
        name: "mp4_recorded",
        run: recorded::file,
    },
    Target {
        name: "recording_name",
        run: recording::name,
    },
    Target {
        name: "mpegts",
        run: mpegts::stream,
    },
    Target {
        name: "mpegts_recovery",
        run: mpegts::recovery,
    },
    Target {
        name: "mpegts_view",
        run: mpegts::view,
    },
    Target {
        name: "websocket",
        run: websocket::frames,
    },
];

impl Target {
    /// The target of this name.
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The folder of its seeds.
    pub fn corpus(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// Its seeds by file name, sorted, so that every run mutates the same.
    pub fn seeds(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut seeds = Vec::new();
        for entry in std::fs::read_dir(self.corpus())? {
            let entry = entry?;
            seeds.push((
                entry.file_name().to_string_lossy().into_owned(),
                std::fs::read(entry.path())?,
            ));
        }
        seeds.sort();
        Ok(seeds)
    }
}
