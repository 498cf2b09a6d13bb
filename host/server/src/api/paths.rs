//! `/v3/paths/…`: what is being published and read.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::{
    Json,
    extract::{Path as Segments, State},
    http::StatusCode,
};
use serde::Serialize;
use serde_json::{Value, json};
use wasmtx_hub::{Path, PathName, Peer};
use wasmtx_media::{Codec, Track, Tracks, codec::av1::Sequence};

use super::{
    Asked, Shared, View,
    answer::{Error, Page, time},
};
use crate::config::{Config, SourceKind};

/// One side of a path.
#[derive(Serialize)]
struct Side {
    r#type: &'static str,
    id: String,
}

impl From<Peer> for Side {
    fn from(peer: Peer) -> Side {
        Side {
            r#type: peer.kind,
            id: peer.id.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTrack {
    codec: &'static str,
    codec_props: Value,
}

/// A path as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    name: String,
    conf_name: String,
    /// Deprecated, as all that follow `available` and stand before it.
    ready: bool,
    ready_time: Option<String>,
    available: bool,
    available_time: Option<String>,
    online: bool,
    online_time: Option<String>,
    source: Option<Side>,
    /// Deprecated.
    tracks: Vec<&'static str>,
    tracks2: Vec<ShownTrack>,
    readers: Vec<Side>,
    inbound_bytes: u64,
    outbound_bytes: u64,
    inbound_frames_in_error: u64,
    /// Ours: whether the stream is being recorded.
    recording: bool,
    /// Deprecated.
    bytes_received: u64,
    /// Deprecated.
    bytes_sent: u64,
}

pub(super) async fn list(State(view): Shared, Asked(query): Asked) -> Result<Json<Page<Shown>>, Error> {
    Page::of(&view.hub.paths(), &query, |path| show(&view, path)).map(Json)
}

pub(super) async fn one(State(view): Shared, Segments(name): Segments<String>) -> Result<Json<Shown>, Error> {
    let path = PathName::new(&name).ok().and_then(|name| view.hub.path(&name));
    let path = path.ok_or(Error(StatusCode::NOT_FOUND, "path not found"))?;
    Ok(Json(show(&view, &path)))
}

fn show(view: &View, path: &Arc<Path>) -> Shown {
    let publication = path.publication();
    let since = publication.as_ref().map(|publication| time(publication.since.0));
    let tracks = publication
        .as_ref()
        .map_or_else(|| Tracks::from([]), |publication| publication.tracks());
    let online = publication.is_some();
    let inbound_bytes = path.counters.inbound_bytes.load(Relaxed);
    let outbound_bytes = path.counters.outbound_bytes.load(Relaxed);
    Shown {
        name: path.name.to_string(),
        conf_name: path.rule().to_string(),
        ready: online,
        ready_time: since.clone(),
        available: online,
        available_time: since.clone(),
        online,
        online_time: since,
        source: path
            .source()
            .map(Side::from)
            .or_else(|| configured(&(view.config)(), &path.rule())),
        tracks: tracks.iter().map(|track| track.codec.name()).collect(),
        tracks2: tracks.iter().map(show_track).collect(),
        readers: path.readers().into_iter().map(Side::from).collect(),
        inbound_bytes,
        outbound_bytes,
        inbound_frames_in_error: path.counters.frames_in_error.load(Relaxed),
        recording: online && view.recording.records(path),
        bytes_received: inbound_bytes,
        bytes_sent: outbound_bytes,
    }
}

/// Where a path's stream will come from while it is not there.
fn configured(config: &Config, rule: &str) -> Option<Side> {
    let kind = match config.paths.get(rule)?.conf.source.kind() {
        SourceKind::Publisher => return None,
        SourceKind::Redirect => "redirect",
        SourceKind::RpiCamera => "rpiCameraSource",
        SourceKind::Rtsp | SourceKind::Rtsps | SourceKind::RtspTunnel => "rtspSource",
        SourceKind::Rtmp => "rtmpSource",
        SourceKind::Hls => "hlsSource",
        SourceKind::Flv => "flvSource",
        SourceKind::Whep => "webRTCSource",
        SourceKind::Srt => "srtSource",
        SourceKind::MpegTs => "mpegtsSource",
        SourceKind::Rtp => "rtpSource",
        SourceKind::Moq => "moqSource",
    };
    Some(Side {
        r#type: kind,
        id: String::new(),
    })
}

fn show_track(track: &Track) -> ShownTrack {
    ShownTrack {
        codec: track.codec.name(),
        codec_props: properties(&track.codec),
    }
}

/// What is known about a codec, by the names of the API; zero or empty while the stream has not told it.
fn properties(codec: &Codec) -> Value {
    match codec {
        Codec::H264(parameters) => json!({
            "width": parameters.width().unwrap_or_default(),
            "height": parameters.height().unwrap_or_default(),
            "profile": parameters.profile().unwrap_or_default(),
            "level": parameters.level().unwrap_or_default(),
        }),
        Codec::H265(parameters) => json!({
            "width": parameters.width().unwrap_or_default(),
            "height": parameters.height().unwrap_or_default(),
            "profile": parameters.profile().unwrap_or_default(),
            "level": parameters.level().unwrap_or_default(),
        }),
        Codec::Av1(parameters) => {
            let sequence = parameters.sequence();
            let number = |of: fn(&Sequence) -> u32| sequence.as_ref().map_or(0, of);
            json!({
                "width": number(|sequence| sequence.width),
                "height": number(|sequence| sequence.height),
                "profile": number(|sequence| sequence.profile.into()),
                "level": number(|sequence| sequence.level_index.into()),
                "tier": number(|sequence| sequence.high_tier.into()),
            })
        }
        // The bitstream says it in each keyframe, and nothing in the track does.
        Codec::Vp9 => json!({ "profile": 0 }),
        Codec::Opus { channels } => json!({ "channelCount": channels }),
        Codec::Aac(config) => json!({ "sampleRate": config.sample_rate, "channelCount": config.channels }),
        Codec::Ac3 { sample_rate, channels } => json!({ "sampleRate": sample_rate, "channelCount": channels }),
        Codec::G711 {
            mu_law,
            sample_rate,
            channels,
        } => {
            json!({ "muLaw": mu_law, "sampleRate": sample_rate, "channelCount": channels })
        }
        Codec::Lpcm {
            bit_depth,
            sample_rate,
            channels,
        } => {
            json!({ "bitDepth": bit_depth, "sampleRate": sample_rate, "channelCount": channels })
        }
        _ => Value::Null,
    }
}
