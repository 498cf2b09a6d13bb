//! The hub's events in the words of the contract.

use wasmtx_hub::{Event, PathName, Segment};

use crate::{
    bindings::events::events as wit,
    convert::{client, close_reason, publication},
    host::Grants,
};

pub(super) fn event(event: &Event, grants: &Grants) -> wit::Event {
    let name = |path: &Option<PathName>| path.as_ref().map(PathName::to_string).unwrap_or_default();
    match event {
        Event::Connected(who) => wit::Event::Connected(client(who, grants)),
        Event::Disconnected(who, reason) => wit::Event::Disconnected((client(who, grants), close_reason(*reason))),
        Event::Refused { path, client: who } => wit::Event::Refused((name(path), client(who, grants))),
        Event::Online(opening) => wit::Event::Online(publication(opening, grants)),
        Event::Offline(path, reason) => wit::Event::Offline((path.to_string(), close_reason(*reason))),
        Event::Reading(path, who) => wit::Event::Reading((path.to_string(), client(who, grants))),
        Event::ReadEnded(path, who, reason) => {
            wit::Event::ReadEnded((path.to_string(), client(who, grants), close_reason(*reason)))
        }
        Event::SegmentStarted(what) => wit::Event::SegmentStarted(segment(what)),
        Event::SegmentDone(what) => wit::Event::SegmentDone(segment(what)),
        Event::PluginFailed { plugin, text, .. } => wit::Event::PluginFailed((plugin.clone(), text.clone())),
        Event::Other { kind, json, .. } => wit::Event::Other((kind.clone(), json.clone())),
        // Kinds that the hub learns later need their words here.
        _ => wit::Event::Other((String::new(), "{}".to_owned())),
    }
}

fn segment(segment: &Segment) -> wit::Segment {
    wit::Segment {
        path: segment.path.to_string(),
        file: segment.file.clone(),
        start: segment.start.0,
        duration: segment.duration,
        size: segment.size,
    }
}
