//! `recording`: what a sink says of the files that it writes. It is believed about files that it made itself, and whose stream
//! and place the host knows; everything else it says is not heard.

use std::{collections::VecDeque, sync::Arc};

use wasmtx_hub::{Event, PathName, Segment};
use wasmtx_media::WallClock;

use super::State;
use crate::{
    bindings::plugin::recording,
    services::{Recordings, SegmentTold},
};

/// Files that are remembered, of each kind: an instance writes no more at once.
const REMEMBERED: usize = 16;

/// The recorded files of one instance.
#[derive(Default)]
pub(crate) struct Segments {
    /// Begun, and not done yet.
    begun: VecDeque<Begun>,
    /// Finished files, with their lengths, the newest last.
    finished: VecDeque<(String, u64)>,
}

/// A file that others know of.
pub(super) struct Begun {
    told: SegmentTold,
    recordings: Arc<dyn Recordings>,
}

impl Begun {
    /// Nobody writes it any more.
    pub(super) fn left(self) {
        self.recordings.left(&self.told);
    }
}

impl Segments {
    /// A file is finished.
    pub(super) fn finished(&mut self, name: &str, len: u64) {
        if self.finished.len() >= REMEMBERED {
            self.finished.pop_front();
        }
        self.finished.push_back((name.to_owned(), len));
    }

    fn begin(&mut self, begun: Begun) {
        if self.begun.len() >= REMEMBERED
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.left();
        }
        self.begun.push_back(begun);
    }

    fn has_begun(&self, file: &str) -> bool {
        self.begun.iter().any(|begun| begun.told.file == file)
    }

    /// A file that was begun and is finished.
    fn end(&mut self, file: &str) -> Option<Begun> {
        let finished = self.finished.iter().rposition(|(name, _)| name == file)?;
        let begun = self.begun.iter().position(|begun| begun.told.file == file)?;
        let (_, size) = self.finished.remove(finished)?;
        let mut begun = self.begun.remove(begun)?;
        begun.told.size = size;
        Some(begun)
    }

    /// One that nobody ends any more, if it was begun.
    pub(super) fn leave(&mut self, file: &str) -> Option<Begun> {
        let begun = self.begun.iter().position(|begun| begun.told.file == file)?;
        self.begun.remove(begun)
    }

    /// All of them.
    pub(super) fn leave_all(&mut self) -> VecDeque<Begun> {
        std::mem::take(&mut self.begun)
    }
}

impl recording::Host for State {
    fn started(&mut self, file: String, start: u64) {
        let Some(granted) = &self.outside.storage else { return };
        let Ok(path) = PathName::new(self.place.path()) else {
            return;
        };
        if !self.files.is_writing(&file) || self.files.segments.has_begun(&file) {
            return;
        }
        let told = SegmentTold {
            path,
            plugin: self.common.name.clone(),
            place: granted.place().clone(),
            file,
            start: WallClock(start),
            duration: 0,
            size: 0,
        };
        self.common.events.emit(|| Event::SegmentStarted(segment(&told)));
        self.outside.recordings.started(&told);
        self.files.segments.begin(Begun {
            told,
            recordings: self.outside.recordings.clone(),
        });
    }

    fn done(&mut self, file: String, _start: u64, duration: u64) {
        let Some(Begun { mut told, recordings }) = self.files.segments.end(&file) else {
            return;
        };
        told.duration = duration;
        self.common.events.emit(|| Event::SegmentDone(segment(&told)));
        recordings.done(&told);
    }
}

fn segment(told: &SegmentTold) -> Segment {
    Segment {
        path: told.path.clone(),
        file: told.place.file(&told.file),
        start: told.start,
        duration: told.duration,
        size: told.size,
    }
}
