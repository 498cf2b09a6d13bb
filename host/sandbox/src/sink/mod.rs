//! Sinks: readers of a stream inside the server, for whoever stores, measures or forwards frames.
//!
//! A sink reads the ring from a cursor of its own, as every reader does, and is none of the path's readers: it is listed and
//! counted nowhere, takes no place of `maxReaders`, and keeps no source on demand going. It begins at a keyframe, gets what
//! came since its last call as one batch, and delays nobody: one that is too slow loses whole GOPs, by the ring's law.
//!
//! Of a stream that begins while a sink attends the path, the sink has everything from the first keyframe on. Only of a stream
//! that runs already it begins somewhere in the middle, or as far back as it was told to.

mod attendance;
mod guest;
mod takeover;
mod task;

use std::sync::Arc;

pub use self::attendance::{Attendance, Attended};
use crate::entry::Slot;

/// The sinks that a path's configuration lists.
pub struct Sinks {
    slots: Vec<Arc<Slot>>,
}

impl Sinks {
    pub(crate) fn new(slots: Vec<Arc<Slot>>) -> Sinks {
        Sinks { slots }
    }
}
