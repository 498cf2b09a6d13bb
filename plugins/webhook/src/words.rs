//! Events as JSON: what the server's own `/v3/events` shows, by the same names.

use std::time::Duration;

use serde_json::{Map, Value};
use wasmtx_plugin::events::{Event, Segment, Stamp};
use wasmtx_plugin::{Client, Publication, json};

pub(crate) fn event(at: &Stamp, event: &Event) -> Value {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("time", time(at.when()).into());
    put("number", at.number.into());
    if at.lost > 0 {
        put("lost", at.lost.into());
    }
    put("kind", event.kind().into());
    if let Some(path) = event.path() {
        put("path", path.into());
    }
    match event {
        Event::Connected(who) | Event::Refused((_, who)) | Event::Reading((_, who)) => put("client", client(who)),
        Event::Disconnected((who, why)) | Event::ReadEnded((_, who, why)) => {
            put("client", client(who));
            put("reason", why.name().into());
        }
        Event::Online(what) => put("publication", publication(what)),
        Event::Offline((_, why)) => put("reason", why.name().into()),
        Event::SegmentStarted(what) | Event::SegmentDone(what) => put("segment", segment(what)),
        Event::PluginFailed((_, what)) => put("error", what.as_str().into()),
        // A plugin's own words: what is no JSON is shown as the text that it is.
        Event::Other((_, text)) => put(
            "data",
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        ),
    }
    Value::Object(line)
}

fn client(client: &Client) -> Value {
    let pairs = |list: &[(String, String)]| -> Value {
        let pairs = list.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        Value::Object(pairs.collect())
    };
    json!({
        "session": client.session, "protocol": client.protocol.name(), "address": client.address, "userAgent": client.agent,
        "query": client.query, "identity": client.identity, "tags": pairs(&client.tags),
    })
}

fn publication(publication: &Publication) -> Value {
    json!({
        "generation": publication.generation, "publisher": publication.publisher.as_ref().map(client), "source": publication.source,
        "tracks": publication.tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>(),
    })
}

fn segment(segment: &Segment) -> Value {
    json!({
        "file": segment.file, "start": time(segment.begins()), "duration": segment.length().as_secs_f64(), "size": segment.size,
    })
}

/// RFC 3339, in UTC.
fn time(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that some have comes last; eras have 400 of them, and begin with the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
    let micros = since_1970.subsec_micros();
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // `date -u --date=@…`
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), format!("{expected}.000000Z"));
        }
        assert_eq!(time(Duration::from_micros(1_500_000)), "1970-01-01T00:00:01.500000Z");
    }
}
