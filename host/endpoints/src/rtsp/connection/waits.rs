//! What the loop of a connection waits for, where it may not be there: then for ever.

use std::{future::pending, time::Instant};

use tokio::sync::watch;
use wasmtx_hub::{CloseReason, Decision};

use super::super::{
    play::{Interleaved, Playing},
    ports::{Address, Datagram, Inbox},
    record::Recording,
};
use crate::{
    permission::Permission,
    tcp::{Membership, Over},
};

/// Resolves at this time; never without one.
pub(super) async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}

/// Resolves when the reader has something to take; never without a reader.
pub(super) async fn news(playing: &mut Option<Playing>) {
    match playing {
        Some(playing) => playing.news().await,
        None => pending().await,
    }
}

/// Resolves when the crew no longer writes for this reader; never without a crew.
pub(super) async fn over(crew: &mut Option<Membership<Interleaved>>) -> Over {
    match crew {
        Some(crew) => crew.over().await,
        None => pending().await,
    }
}

pub(super) async fn receive(inbox: &mut Option<(Address, Inbox)>) -> Datagram {
    match inbox {
        // The session holds a sender, so the channel is open.
        Some((_, inbox)) => match inbox.recv().await {
            Some(datagram) => datagram,
            None => pending().await,
        },
        None => pending().await,
    }
}

/// Resolves when the server stops, or is gone.
pub(super) async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Resolves when the publisher is told something; never without one.
pub(super) async fn notice(recording: &mut Option<Recording>) -> Option<CloseReason> {
    match recording {
        Some(recording) => recording.notice().await,
        None => pending().await,
    }
}

/// Resolves when the gate, asked again, has answered.
pub(super) async fn answered(permission: &mut Option<Permission>) -> Decision {
    match permission {
        Some(permission) => permission.answer().await,
        None => pending().await,
    }
}
