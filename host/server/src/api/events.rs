//! `/v3/events`: what happens, as it happens, one JSON text per line. Ours; MediaMTX has none.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use wasmtx_hub::{Client, CloseReason, Event, Happened, Opening, Segment};

use super::{
    Shared,
    answer::{Error, time},
};
use crate::redact;

/// Says what the lines are.
const KIND: &str = "application/x-ndjson";

pub(super) async fn follow(State(view): Shared) -> Result<Response, Error> {
    let stopping = Error(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
    let events = view.events.follow().ok_or(stopping)?;
    let lines = stream::unfold(events, async |mut events: Receiver<Arc<Happened>>| {
        let line = match events.recv().await {
            Ok(happened) => show(&happened),
            Err(RecvError::Lagged(lost)) => json!({ "kind": "lost", "count": lost }),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))), events))
    });
    Ok(([(header::CONTENT_TYPE, KIND)], Body::from_stream(lines)).into_response())
}

fn show(happened: &Happened) -> Value {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("time", time(happened.time.0).into());
    put("number", happened.number.into());
    if happened.lost > 0 {
        put("lost", happened.lost.into());
    }
    put("kind", kind(&happened.event).into());
    if let Some(path) = happened.event.path() {
        put("path", path.as_str().into());
    }
    match &happened.event {
        Event::Connected(who) | Event::Refused { client: who, .. } | Event::Reading(_, who) => {
            put("client", client(who));
        }
        Event::Disconnected(who, why) | Event::ReadEnded(_, who, why) => {
            put("client", client(who));
            put("reason", reason(*why).into());
        }
        Event::Online(opening) => put("publication", publication(opening)),
        Event::Offline(_, why) => put("reason", reason(*why).into()),
        Event::SegmentStarted(what) | Event::SegmentDone(what) => put("segment", segment(what)),
        Event::PluginFailed { plugin, text, .. } => {
            put("plugin", plugin.as_str().into());
            put("error", text.as_str().into());
        }
        Event::Other { plugin, json, .. } => {
            put("plugin", plugin.as_deref().into());
            // A plugin's own words: what is no JSON is shown as the text that it is.
            put(
                "data",
                serde_json::from_str(json).unwrap_or_else(|_| json.as_str().into()),
            );
        }
        _ => {}
    }
    Value::Object(line)
}

/// The word of the contract.
fn kind(event: &Event) -> &str {
    match event {
        Event::Connected(_) => "connected",
        Event::Disconnected(..) => "disconnected",
        Event::Refused { .. } => "refused",
        Event::Online(_) => "online",
        Event::Offline(..) => "offline",
        Event::Reading(..) => "reading",
        Event::ReadEnded(..) => "read-ended",
        Event::SegmentStarted(_) => "segment-started",
        Event::SegmentDone(_) => "segment-done",
        Event::PluginFailed { .. } => "plugin-failed",
        Event::Other { kind, .. } => kind,
        _ => "other",
    }
}

fn reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Ended => "ended",
        CloseReason::Replaced => "replaced",
        CloseReason::Reload => "reload",
        CloseReason::Failed => "failed",
        CloseReason::Shutdown => "shutdown",
        CloseReason::Kicked => "kicked",
        CloseReason::Expired => "expired",
        CloseReason::Timeout => "timeout",
        CloseReason::TooSlow => "too-slow",
        CloseReason::Other => "other",
    }
}

fn client(client: &Client) -> Value {
    json!({
        "session": client.id,
        "address": client.address,
        "userAgent": client.agent,
        "query": redact::query(&client.query),
        "identity": client.identity,
        "tags": client.tags.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect::<Map<_, _>>(),
    })
}

fn publication(opening: &Opening) -> Value {
    json!({
        "generation": opening.generation,
        "publisher": opening.publisher.as_deref().map(client),
        "source": opening.source,
        "tracks": opening.tracks.iter().map(|track| track.codec.name()).collect::<Vec<_>>(),
    })
}

fn segment(segment: &Segment) -> Value {
    json!({
        "file": segment.file,
        "start": time(segment.start.0),
        "duration": segment.duration,
        "size": segment.size,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::TcpStream;
    use wasmtx_hub::PathName;
    use wasmtx_media::WallClock;

    use super::*;
    use crate::{
        api::testing::{STARTED, Window},
        events::Followers,
    };

    /// Follows the events of a window; everything that happens from now on comes.
    async fn follow(window: &Window) -> Lines<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&window.api).await.unwrap();
        // A server of version 1.0 does not cut its answer into chunks.
        stream
            .write_all(b"GET /v3/events HTTP/1.0\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.next_line().await.unwrap().unwrap().contains(" 200 "));
        let mut head = String::new();
        loop {
            match lines.next_line().await.unwrap().unwrap() {
                line if line.is_empty() => break,
                line => head += &line.to_lowercase(),
            }
        }
        assert!(head.contains(KIND), "{head}");
        lines
    }

    fn happened(number: u64, event: Event) -> Arc<Happened> {
        Arc::new(Happened {
            time: WallClock(STARTED.0),
            number,
            lost: 0,
            event,
        })
    }

    async fn line(lines: &mut Lines<BufReader<TcpStream>>) -> Value {
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn each_event_is_a_line_of_json() {
        let window = Window::open("").await;
        let mut lines = follow(&window).await;
        let path = PathName::new("a/b").unwrap();
        let raised = |json: &str| Event::Other {
            path: None,
            plugin: Some("tally".to_owned()),
            kind: "counted".to_owned(),
            json: json.to_owned(),
        };
        window
            .happened
            .send(happened(1, Event::Offline(path, CloseReason::Ended)))
            .unwrap();
        window.happened.send(happened(2, raised("{\"n\":1}"))).unwrap();
        window.happened.send(happened(3, raised("no\nJSON"))).unwrap();
        let time = "2024-11-22T15:33:33Z";
        assert_eq!(
            line(&mut lines).await,
            json!({ "time": time, "number": 1, "kind": "offline", "path": "a/b", "reason": "ended" })
        );
        let plugin = "tally";
        assert_eq!(
            line(&mut lines).await,
            json!({ "time": time, "number": 2, "kind": "counted", "plugin": plugin, "data": { "n": 1 } })
        );
        assert_eq!(line(&mut lines).await["data"], "no\nJSON");
    }

    #[tokio::test]
    async fn the_stream_ends_with_the_server_and_then_there_is_none() {
        let mut window = Window::open("").await;
        let mut lines = follow(&window).await;
        window.happened = Followers::new().0;
        assert_eq!(lines.next_line().await.unwrap(), None);
        assert_eq!(window.get("/v3/events").await.status, 503);
    }

    #[tokio::test]
    async fn secrets_of_a_query_are_not_shown() {
        let shown = client(&Client {
            id: uuid::Uuid::nil(),
            protocol: wasmtx_hub::Protocol::Rtsp,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            agent: None,
            query: "token=geheim&view=1".to_owned(),
            identity: Some("ada".to_owned()),
            tags: vec![("room".to_owned(), "kitchen".to_owned())],
            extra: Vec::new(),
        });
        assert_eq!(shown["query"], "token=<redacted>&view=1");
        assert_eq!(
            (&shown["identity"], &shown["tags"]["room"]),
            (&json!("ada"), &json!("kitchen"))
        );
    }
}
