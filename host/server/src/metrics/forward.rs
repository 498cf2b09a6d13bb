//! Destinations that streams are sent on to.

use wasmtx_endpoints::forward::Forward;

use super::{
    Filter,
    class::Class,
    forward_state,
    text::{Object, Text},
};
use crate::api::View;

const FORWARD_DESTS: Class = Class {
    title: "Forward destinations",
    name: "forward_dests",
    object: "forward_dest",
    current: &["", "_outbound_bytes"],
    deprecated: &[],
};

pub(super) fn write(text: &mut Text, view: &View, filter: &Filter<'_>) {
    let objects = || view.forwards.all().iter().map(|forward| object(forward)).collect();
    FORWARD_DESTS.write(text, filter, objects);
}

fn object(forward: &Forward) -> Object {
    let (state, _) = forward.state();
    Object {
        labels: vec![
            ("id", forward.id.to_string()),
            ("path", forward.path.to_string()),
            ("protocol", forward.destination.protocol().to_owned()),
            ("state", forward_state(state).to_owned()),
        ],
        current: vec![1, forward.outbound_bytes.load()],
        ..Object::default()
    }
}
