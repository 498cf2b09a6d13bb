//! What only the loop of an RTSP connection waits for, where it may not be there: then for ever.

use std::future::pending;

use wasmtx_hub::CloseReason;

use super::super::{
    play::Playing,
    ports::{Address, Datagram, Inbox},
    record::Recording,
};

/// Resolves when the reader has something to take; never without a reader.
pub(super) async fn news(playing: &mut Option<Playing>) {
    match playing {
        Some(playing) => playing.news().await,
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

/// Resolves when the publisher is told something; never without one.
pub(super) async fn notice(recording: &mut Option<Recording>) -> Option<CloseReason> {
    match recording {
        Some(recording) => recording.notice().await,
        None => pending().await,
    }
}
