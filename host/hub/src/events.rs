//! What happened, afterwards: one bounded channel for the whole server.
//!
//! The hub and the endpoints emit, under the lock of the path that it happened on where there is one, so that the events of
//! a path come in order. One listener takes them and hands them on to whom it likes. Emitting never waits: when the
//! listener is too slow, events are dropped and counted, and while nobody listens one is not even made.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use wasmtx_media::WallClock;

use crate::{Client, CloseReason, Opening, PathName};

/// Events that wait for the listener. Beyond them new ones are lost.
const WAITING: usize = 4_096;

/// Something that happened; `event` of `wit/plugin.wit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The gate let somebody in.
    Connected(Arc<Client>),
    /// Somebody whom the gate had let in is gone.
    Disconnected(Arc<Client>, CloseReason),
    /// The gate did not let somebody in. Being asked for credentials for the first time is no refusal.
    Refused {
        /// What was asked for; `None` where there is no path (API, metrics).
        path: Option<PathName>,
        /// Who asked.
        client: Arc<Client>,
    },
    /// A stream begins, its tracks as readers see them: also when another publisher takes over, or the tracks change.
    Online(Arc<Opening>),
    /// A stream is over.
    Offline(PathName, CloseReason),
    /// Somebody reads a path.
    Reading(PathName, Arc<Client>),
    /// Somebody reads it no more.
    ReadEnded(PathName, Arc<Client>, CloseReason),
    /// A file of a recording was begun.
    SegmentStarted(Segment),
    /// A file of a recording is complete.
    SegmentDone(Segment),
    /// A plugin failed.
    PluginFailed {
        /// The stream that it served, if any.
        path: Option<PathName>,
        /// Its name in the configuration.
        plugin: String,
        /// What happened.
        text: String,
    },
    /// What a plugin raised, and kinds that the contract has no word for yet.
    Other {
        /// The stream that it is about, if any.
        path: Option<PathName>,
        /// The plugin that raised it, by its name in the configuration.
        plugin: Option<String>,
        /// The name of the kind.
        kind: String,
        /// A JSON text.
        json: String,
    },
}

impl Event {
    /// The path that it is about. None for what belongs to a connection, or to a plugin as such.
    pub fn path(&self) -> Option<&PathName> {
        match self {
            Event::Connected(_) | Event::Disconnected(..) => None,
            Event::Refused { path, .. } | Event::PluginFailed { path, .. } | Event::Other { path, .. } => path.as_ref(),
            Event::Online(opening) => Some(&opening.path),
            Event::Offline(path, _) | Event::Reading(path, _) | Event::ReadEnded(path, ..) => Some(path),
            Event::SegmentStarted(segment) | Event::SegmentDone(segment) => Some(&segment.path),
        }
    }

    /// The plugin that failed or raised it.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Event::PluginFailed { plugin, .. } => Some(plugin),
            Event::Other { plugin, .. } => plugin.as_deref(),
            _ => None,
        }
    }
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The recorded path.
    pub path: PathName,
    /// The file.
    pub file: String,
    /// When its first frame was taken.
    pub start: WallClock,
    /// Microseconds; 0 while it is being written.
    pub duration: u64,
    /// Bytes; 0 while it is being written.
    pub size: u64,
}

/// An event with what the host notes about it.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub time: WallClock,
    /// Counts from 1, lost events too.
    pub number: u64,
    /// How many were lost since the event before this one.
    pub lost: u32,
    /// What.
    pub event: Event,
}

/// The way in. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Channel>);

#[derive(Default)]
struct Channel {
    /// Whether `line` is there, to be asked without a lock.
    listening: AtomicBool,
    line: Mutex<Option<Line>>,
    lost: AtomicU64,
}

/// What leads to the listener.
struct Line {
    sender: mpsc::Sender<Happened>,
    clock: fn() -> WallClock,
    number: u64,
    /// Not told to the listener yet.
    lost: u32,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("listening", &self.0.listening)
            .field("lost", &self.0.lost)
            .finish()
    }
}

impl Events {
    /// Notes that something happened. Never waits; while nobody listens `event` is not called.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if !self.0.listening.load(Relaxed) {
            return;
        }
        let event = event();
        let mut line = self.0.line.lock();
        let Some(line) = &mut *line else { return };
        line.number += 1;
        let happened = Happened {
            time: (line.clock)(),
            number: line.number,
            lost: line.lost,
            event,
        };
        if line.sender.try_send(happened).is_ok() {
            line.lost = 0;
        } else {
            line.lost = line.lost.saturating_add(1);
            self.0.lost.fetch_add(1, Relaxed);
        }
    }

    /// Begins to listen; `clock` dates the events. `None` while somebody else does.
    pub fn listen(&self, clock: fn() -> WallClock) -> Option<Feed> {
        let mut line = self.0.line.lock();
        if line.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        *line = Some(Line {
            sender,
            clock,
            number: 0,
            lost: 0,
        });
        self.0.listening.store(true, Relaxed);
        Some(Feed {
            events: self.clone(),
            receiver,
        })
    }

    /// How many events were lost since the start because the listener was too slow.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

/// The listener's end. Dropping it ends the listening.
#[derive(Debug)]
pub struct Feed {
    events: Events,
    receiver: mpsc::Receiver<Happened>,
}

impl Feed {
    /// Waits for the next event. Cancel safe.
    pub async fn next(&mut self) -> Happened {
        match self.receiver.recv().await {
            Some(happened) => happened,
            // The line goes with this feed only.
            None => std::future::pending().await,
        }
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Happened> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.events.0.listening.store(false, Relaxed);
        self.events.0.line.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(number: usize) -> Event {
        Event::Other {
            path: None,
            plugin: None,
            kind: number.to_string(),
            json: "{}".to_owned(),
        }
    }

    #[test]
    fn nothing_is_made_while_nobody_listens() {
        let events = Events::default();
        events.emit(|| panic!("nobody wants to know"));
        drop(events.listen(|| WallClock(1)));
        events.emit(|| panic!("nobody wants to know any more"));
        assert_eq!(events.lost(), 0);
    }

    #[test]
    fn there_is_one_listener_at_a_time() {
        let events = Events::default();
        let first = events.listen(|| WallClock(1));
        assert!(first.is_some());
        assert!(events.listen(|| WallClock(1)).is_none());
        drop(first);
        assert!(events.listen(|| WallClock(1)).is_some());
    }

    #[test]
    fn events_come_numbered_and_dated_and_lost_ones_are_told() {
        let events = Events::default();
        let mut feed = events.listen(|| WallClock(7)).unwrap();
        (0..WAITING + 3).for_each(|number| events.emit(|| raised(number)));
        assert_eq!(events.lost(), 3);
        for number in 1..=WAITING as u64 {
            let Happened {
                time,
                number: said,
                lost,
                ..
            } = feed.try_next().unwrap();
            assert_eq!((time, said, lost), (WallClock(7), number, 0));
        }
        assert!(feed.try_next().is_none());
        events.emit(|| raised(0));
        let next = feed.try_next().unwrap();
        assert_eq!((next.number, next.lost), (WAITING as u64 + 4, 3));
        events.emit(|| raised(0));
        assert_eq!(feed.try_next().unwrap().lost, 0);
    }
}
