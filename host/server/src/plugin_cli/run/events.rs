//! Events told to an events plugin: those that a running server shows at `/v3/events`, or made-up ones of the same form.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::{Deserializer, Value as Json};
use uuid::Uuid;
use wasmtx_hub::{Client, CloseReason, Event, Feed, Happened, Opening, PathName, Protocol, Segment};
use wasmtx_media::{Codec, Kind, Track, TrackId, Tracks, WallClock};
use wasmtx_sandbox::{Observers, Registry};

use super::verdict::failures;
use crate::plugin_cli::shown;

/// One line of `/v3/events`. What the plugin is not told is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Line {
    kind: String,
    path: Option<String>,
    client: Somebody,
    reason: Option<String>,
    publication: Published,
    segment: File,
    plugin: String,
    error: String,
    data: Option<Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Somebody {
    session: Option<Uuid>,
    address: Option<IpAddr>,
    user_agent: Option<String>,
    query: String,
    identity: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Published {
    generation: u32,
    source: Option<String>,
    tracks: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    file: String,
    duration: u64,
    size: u64,
}

/// Tells all events, prints what the plugin raised, and answers whether it failed.
pub(super) fn run(
    registry: &Registry,
    observers: &Observers,
    raised: &mut Feed,
    path: &PathName,
    texts: &[&String],
    output: &mut dyn Write,
) -> anyhow::Result<bool> {
    let mut lines = Vec::new();
    for text in texts {
        lines.extend(parse(text)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    for (number, line) in (1u64..).zip(lines) {
        let kind = line.kind.clone();
        let happened = Happened {
            time: now(),
            number,
            lost: 0,
            event: line.event(path)?,
        };
        let begun = std::time::Instant::now();
        runtime.block_on(async {
            registry.tell(&Arc::new(happened), Some(observers));
            registry.told().await;
        });
        writeln!(output, "{kind}: told ({})", shown::time(begun.elapsed()))?;
        while let Some(happened) = raised.try_next() {
            match happened.event {
                Event::Other { kind, json, .. } => writeln!(output, "  it raises {kind}: {json}")?,
                Event::PluginFailed { text, .. } => {
                    // Where it was is in the log.
                    let cause = text.split(": error while executing").next().unwrap_or_default();
                    writeln!(output, "  it fails: {cause}")?;
                }
                _ => {}
            }
        }
    }
    let uses = registry.status().into_iter().flat_map(|status| status.uses);
    Ok(uses.map(|usage| failures(&usage)).sum::<u64>() > 0)
}

/// The wall clock of events.
pub(super) fn now() -> WallClock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallClock(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// JSON objects one behind the other, or a list of them, as text or in a file.
fn parse(text: &str) -> anyhow::Result<Vec<Line>> {
    let (text, origin) = if text.trim_start().starts_with(['{', '[']) {
        (text.to_owned(), "--event")
    } else {
        let read = fs::read_to_string(text);
        let text_of = read.with_context(|| format!("--event {text}: it is no JSON, and no file that could be read"))?;
        (text_of, text)
    };
    let mut lines = Vec::new();
    for value in Deserializer::from_str(&text).into_iter::<Json>() {
        let list = match value.with_context(|| format!("{origin}: it is not JSON"))? {
            Json::Array(list) => list,
            one => vec![one],
        };
        for line in list {
            lines.push(serde_json::from_value(line).with_context(|| origin.to_owned())?);
        }
    }
    Ok(lines)
}

impl Line {
    fn event(self, path: &PathName) -> anyhow::Result<Event> {
        let path = match &self.path {
            Some(named) => PathName::new(named).map_err(|error| anyhow!("path {named:?}: {error}"))?,
            None => path.clone(),
        };
        let client = Arc::new(self.client.client());
        let reason = reason(self.reason.as_deref())?;
        let segment = |file: File| Segment {
            path: path.clone(),
            file: file.file,
            start: now(),
            duration: file.duration,
            size: file.size,
        };
        Ok(match &*self.kind {
            "connected" => Event::Connected(client),
            "disconnected" => Event::Disconnected(client, reason),
            "refused" => Event::Refused {
                path: Some(path),
                client,
            },
            "online" => Event::Online(Arc::new(Opening {
                path,
                generation: self.publication.generation.max(1),
                publisher: self.publication.source.is_none().then_some(client),
                source: self.publication.source,
                tracks: tracks(&self.publication.tracks),
            })),
            "offline" => Event::Offline(path, reason),
            "reading" => Event::Reading(path, client),
            "read-ended" => Event::ReadEnded(path, client, reason),
            "segment-started" => Event::SegmentStarted(segment(self.segment)),
            "segment-done" => Event::SegmentDone(segment(self.segment)),
            "plugin-failed" => Event::PluginFailed {
                path: Some(path),
                plugin: self.plugin,
                text: self.error,
            },
            "" => bail!("an event has a `kind`: online, offline, reading, …"),
            other => Event::Other {
                path: Some(path),
                plugin: None,
                kind: other.to_owned(),
                json: self.data.unwrap_or_default().to_string(),
            },
        })
    }
}

impl Somebody {
    fn client(self) -> Client {
        Client {
            id: self.session.unwrap_or_else(Uuid::new_v4),
            protocol: Protocol::Rtsp,
            address: self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            agent: self.user_agent,
            query: self.query,
            identity: self.identity,
            tags: self.tags.into_iter().collect(),
            extra: Vec::new(),
        }
    }
}

fn reason(word: Option<&str>) -> anyhow::Result<CloseReason> {
    Ok(match word {
        None | Some("ended") => CloseReason::Ended,
        Some("replaced") => CloseReason::Replaced,
        Some("reload") => CloseReason::Reload,
        Some("failed") => CloseReason::Failed,
        Some("shutdown") => CloseReason::Shutdown,
        Some("kicked") => CloseReason::Kicked,
        Some("expired") => CloseReason::Expired,
        Some("timeout") => CloseReason::Timeout,
        Some("too-slow") => CloseReason::TooSlow,
        Some("other") => CloseReason::Other,
        Some(word) => bail!("there is no reason {word:?} for an end"),
    })
}

/// Tracks of which only the codec is known.
fn tracks(names: &[String]) -> Tracks {
    let track = |(id, name): (u32, &String)| {
        let (kind, codec, clock_rate) = match &**name {
            "H265" => (Kind::Video, Codec::H265(Default::default()), 90_000),
            "AV1" => (Kind::Video, Codec::Av1(Default::default()), 90_000),
            "VP8" => (Kind::Video, Codec::Vp8, 90_000),
            "VP9" => (Kind::Video, Codec::Vp9, 90_000),
            "M-JPEG" => (Kind::Video, Codec::Mjpeg, 90_000),
            "Opus" => (Kind::Audio, Codec::Opus { channels: 2 }, 48_000),
            _ => (Kind::Video, Codec::H264(Default::default()), 90_000),
        };
        Track {
            id: TrackId(id),
            kind,
            codec,
            clock_rate,
            extra: Vec::new(),
            derived: None,
        }
    };
    (1..).zip(names).map(track).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_shows_can_be_told_again() {
        let path = PathName::new("clip").unwrap();
        let lines = r#"
            {"time": "2026-01-01T00:00:00Z", "number": 1, "kind": "online", "path": "cam1", "publication": {"generation": 2, "publisher": null, "source": "rtsp://x", "tracks": ["H264", "Opus"]}}
            {"kind": "read-ended", "path": "cam1", "client": {"session": "00000000-0000-0000-0000-000000000001", "address": "::1", "userAgent": "x", "query": "", "identity": "kim", "tags": {"a": "b"}}, "reason": "too-slow"}
            {"kind": "door-opened", "data": {"by": "kim"}}"#;
        let events: Vec<_> = parse(lines)
            .unwrap()
            .into_iter()
            .map(|line| line.event(&path).unwrap())
            .collect();
        assert!(matches!(&events[0], Event::Online(opening) if opening.tracks.len() == 2 && opening.generation == 2));
        assert!(matches!(&events[1], Event::ReadEnded(_, who, CloseReason::TooSlow) if who.tags.len() == 1));
        assert!(matches!(&events[2], Event::Other { kind, json, .. } if kind == "door-opened" && json.contains("kim")));
    }

    #[test]
    fn what_is_no_event_is_said() {
        let path = PathName::new("clip").unwrap();
        for wrong in [
            r#"{"path": "a"}"#,
            r#"{"kind": "offline", "reason": "bored"}"#,
            r#"{"kind": "online", "path": "/../"}"#,
        ] {
            let line = parse(wrong).unwrap().remove(0);
            assert!(line.event(&path).is_err(), "{wrong}");
        }
        assert!(parse("{").is_err() && parse("no such file").is_err());
    }
}
