//! The publishing side of a connection: tags in, frames into the hub.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtx_hub::{Client, CloseReason, Hub, Notice, Notices, PathName, Peer, Publisher};
use wasmtx_media::Tracks;
use wasmtx_protocol::{
    flv::{self, Demuxer, Output, Tag},
    rtmp::{Kind, Message, amf0::Value},
};

use super::connection::End;
use crate::{bitrate::Cap, wall_clock};

/// A publisher must have said by then what it publishes.
const FIRST_TRACKS: Duration = Duration::from_secs(10);

/// Where a publisher publishes, and who it is.
pub(super) struct Place {
    pub(super) path: PathName,
    pub(super) peer: Peer,
    pub(super) client: Arc<Client>,
}

/// A publication fed by tags. It begins once the tags have told which tracks it has.
pub(super) struct Recording {
    hub: Hub,
    place: Place,
    demuxer: Demuxer,
    published: Option<(Publisher, Notices)>,
    /// When the demuxer wants to be looked at although nothing came.
    wake_at: Option<Instant>,
    /// Without tracks by then it is over.
    first_tracks_by: Instant,
    cap: Option<Cap>,
}

impl Recording {
    pub(super) fn new(now: Instant, hub: Hub, place: Place) -> Recording {
        Recording {
            hub,
            place,
            demuxer: Demuxer::new(),
            published: None,
            wake_at: None,
            first_tracks_by: now + FIRST_TRACKS,
            cap: None,
        }
    }

    /// What may be sent from now on, in bits per second.
    pub(super) fn limit(&mut self, now: Instant, max_bitrate: Option<u64>) {
        match (&mut self.cap, max_bitrate) {
            (Some(cap), Some(rate)) => cap.set_rate(rate),
            (cap, rate) => *cap = rate.map(|rate| Cap::new(now, rate)),
        }
    }

    /// Whether the stream has begun.
    pub(super) fn is_online(&self) -> bool {
        self.published.is_some()
    }

    /// Waits until this publisher must stop. A request for a keyframe ends here: RTMP has no word for it. Cancel safe.
    pub(super) async fn stop(&mut self) -> CloseReason {
        let Some((_, notices)) = &mut self.published else {
            return std::future::pending().await;
        };
        loop {
            if let Notice::Stop(reason) = notices.next().await {
                return reason;
            }
        }
    }

    /// The stage that closed the stream, and its words.
    pub(super) fn closed_by_stage(&self) -> Option<String> {
        self.published.as_ref()?.0.path().closed_by_stage()
    }

    /// Takes a message of audio or video.
    pub(super) fn handle_media(&mut self, now: Instant, message: Message) -> Result<(), End> {
        self.admit(now, &message.payload)?;
        let kind = match message.kind {
            Kind::Audio => flv::Kind::Audio,
            Kind::Video => flv::Kind::Video,
            _ => return Ok(()),
        };
        let tag = Tag {
            kind,
            timestamp: message.timestamp,
            payload: message.payload,
        };
        self.demuxer.handle_tag(now, &tag).map_err(End::Tags)?;
        self.publish(now)
    }

    /// Takes a message of data.
    pub(super) fn handle_data(&mut self, now: Instant, name: &str, values: &[Value]) -> Result<(), End> {
        self.demuxer.handle_data(name, values);
        self.publish(now)
    }

    fn admit(&mut self, now: Instant, payload: &Bytes) -> Result<(), End> {
        if let Some(cap) = &mut self.cap
            && !cap.admits(now, payload.len())
        {
            return Err(End::Bitrate(cap.rate()));
        }
        Ok(())
    }

    /// When [`Recording::handle_timeout`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first_tracks = self.published.is_none().then_some(self.first_tracks_by);
        self.wake_at.into_iter().chain(first_tracks).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        self.demuxer.handle_timeout(now);
        self.publish(now)?;
        if self.published.is_none() && now >= self.first_tracks_by {
            return Err(End::NoTracks);
        }
        Ok(())
    }

    fn publish(&mut self, now: Instant) -> Result<(), End> {
        loop {
            match self.demuxer.poll() {
                Output::Tracks(tracks) => self.set_tracks(now, tracks)?,
                Output::Frame(frame) => {
                    if let Some((publisher, _)) = &mut self.published {
                        publisher.push_quietly(now, wall_clock(), frame).map_err(End::Stream)?;
                    }
                }
                Output::Refused(what) => {
                    tracing::warn!(conn = %self.place.peer.id, path = %self.place.path, code = "track", "[RTMP] {what}");
                }
                Output::WaitUntil(deadline) => {
                    self.wake_at = deadline;
                    return Ok(());
                }
            }
        }
    }

    /// Wakes the readers for all that came together.
    pub(super) fn tell(&mut self) {
        if let Some((publisher, _)) = &mut self.published {
            publisher.tell();
        }
    }

    fn set_tracks(&mut self, now: Instant, tracks: Tracks) -> Result<(), End> {
        if let Some((publisher, _)) = &mut self.published {
            return publisher
                .set_tracks(now, tracks)
                .map_err(|_| End::Stream(CloseReason::Kicked));
        }
        let Place { path, peer, client } = &self.place;
        let codecs: Vec<&str> = tracks.iter().map(|track| track.codec.name()).collect();
        let codecs = codecs.join(", ");
        let publisher = self
            .hub
            .publish(now, wall_clock(), path, *peer, Some(client.clone()), None, tracks)
            .map_err(End::Unpublishable)?;
        tracing::info!(conn = %peer.id, %path, tracks = codecs, "[RTMP] connection is publishing");
        let notices = publisher.notices();
        self.published = Some((publisher, notices));
        Ok(())
    }

    pub(super) fn close(self, now: Instant, reason: CloseReason) {
        if let Some((publisher, _)) = self.published {
            publisher.close(now, reason);
        }
    }
}
