//! A publisher's place on a path, and what the publisher is told there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::{Client, CloseReason, Peer};

/// Taken away when another publisher replaces it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) client: Option<Arc<Client>>,
    pub(crate) peer: Peer,
    /// The URL of a stream that the server fetches itself, without credentials.
    pub(crate) source: Option<String>,
    lost: AtomicBool,
    told: watch::Sender<Told>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    stop: Option<CloseReason>,
    /// Counts the requests for a keyframe.
    keyframes: u64,
}

impl Seat {
    pub(crate) fn new(peer: Peer, client: Option<Arc<Client>>, source: Option<String>) -> Seat {
        Seat {
            client,
            peer,
            source,
            lost: AtomicBool::new(false),
            told: watch::Sender::default(),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Why it was taken away.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.told.borrow().stop
    }

    pub(crate) fn take_away(&self, reason: CloseReason) {
        self.lost.store(true, Ordering::Release);
        self.told.send_modify(|told| {
            told.stop.get_or_insert(reason);
        });
    }

    pub(crate) fn request_keyframe(&self) {
        self.told
            .send_modify(|told| told.keyframes = told.keyframes.wrapping_add(1));
    }

    pub(crate) fn notices(&self) -> Notices {
        Notices {
            told: self.told.subscribe(),
            keyframes: 0,
        }
    }
}

/// What a publisher is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It lost its path, and must stop.
    Stop(CloseReason),
    /// Somebody needs a keyframe soon. Who cannot pass that on need not.
    Keyframe,
}

/// Brings the notices of a publisher.
#[derive(Debug)]
pub struct Notices {
    told: watch::Receiver<Told>,
    /// Requests for keyframes that were brought.
    keyframes: u64,
}

impl Notices {
    /// Waits for the next one. Requests for a keyframe that came meanwhile are one; after [`Notice::Stop`] there is nothing
    /// else. Cancel safe.
    pub async fn next(&mut self) -> Notice {
        loop {
            let told = *self.told.borrow_and_update();
            if let Some(reason) = told.stop {
                return Notice::Stop(reason);
            }
            if told.keyframes != self.keyframes {
                self.keyframes = told.keyframes;
                return Notice::Keyframe;
            }
            if self.told.changed().await.is_err() {
                return Notice::Stop(CloseReason::Ended);
            }
        }
    }
}
