//! Made-up streams, frames and clients. All fields are public: change what a test is about.

use crate::auth::Request;
use crate::events::Segment;
use crate::{Action, Client, FrameInfo, Media, Protocol, Publication, Track};

const KEY: u32 = 1;
/// Ticks between two frames of video at 25 a second.
const STEP: i64 = 3600;

/// A stream that somebody publishes over RTSP.
pub fn publication(path: &str, tracks: impl IntoIterator<Item = Track>) -> Publication {
    Publication {
        path: path.to_owned(),
        generation: 1,
        publisher: Some(client()),
        source: None,
        tracks: tracks.into_iter().collect(),
    }
}

/// Video, 1280×720.
pub fn h264(id: u32) -> Track {
    Track {
        id,
        media: Media::Video,
        codec: "H264".into(),
        clock_rate: 90_000,
        width: 1280,
        height: 720,
        channels: 0,
        sample_rate: 0,
        parameters: vec![1, 0x64, 0, 31],
        extra: Vec::new(),
    }
}

/// Stereo sound.
pub fn opus(id: u32) -> Track {
    Track {
        id,
        media: Media::Audio,
        codec: "Opus".into(),
        clock_rate: 48_000,
        width: 0,
        height: 0,
        channels: 2,
        sample_rate: 48_000,
        parameters: Vec::new(),
        extra: Vec::new(),
    }
}

/// The metadata of a keyframe, the `number`-th frame of its track.
pub fn key(track: u32, number: u64) -> FrameInfo {
    FrameInfo {
        flags: KEY,
        ..delta(track, number)
    }
}

/// The metadata of a frame that needs the ones before it.
pub fn delta(track: u32, number: u64) -> FrameInfo {
    let time = number as i64 * STEP;
    FrameInfo {
        track,
        flags: 0,
        pts: time,
        dts: time,
        duration: STEP as u32,
        wall: 0,
        number,
        size: 0,
        lead_high: 0,
        lead_low: 0,
    }
}

/// Somebody who reads over RTSP.
pub fn client() -> Client {
    Client {
        session: "6f9619ff".into(),
        protocol: Protocol::Rtsp,
        address: "192.0.2.7".into(),
        agent: None,
        query: String::new(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    }
}

/// That client wants this; it has sent no credentials.
pub fn request(action: Action, path: &str) -> Request {
    Request {
        action,
        path: path.to_owned(),
        client: client(),
        encrypted: false,
        user: None,
        password: None,
        token: None,
    }
}

/// One minute of a recording, five megabytes, that began on the first of January 2026.
pub fn segment(path: &str) -> Segment {
    Segment {
        path: path.to_owned(),
        file: format!("./recordings/{path}/2026-01-01_00-00-00-000000.mp4"),
        start: 1_767_225_600_000_000,
        duration: 60_000_000,
        size: 5_000_000,
    }
}
