//! The publishing side of a session: packets in, frames into the hub.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtx_hub::{CloseReason, Notice, Notices, Publisher};
use wasmtx_media::{Codec, Kind, Track, TrackId, Tracks};
use wasmtx_protocol::{
    rtp::{Delivery, Format, Received, Receiver, Timeline},
    rtsp::sdp,
};

use super::{connection::End, registry::Traffic};
use crate::{bitrate::Cap, wall_clock};

/// Publishers are asked for a keyframe once in this time: encoders take a while, and each one costs bits.
const KEYFRAME_EVERY: Duration = Duration::from_secs(1);
/// What publishers know this server by, in RTCP.
const CNAME: &str = "wasmtx";

/// The medias of an announcement that can be received, and what they become.
pub(super) struct Announced {
    medias: Vec<Option<Media>>,
}

struct Media {
    format: Format,
    track: Track,
}

impl Announced {
    /// Each media becomes a track by its first format.
    pub(super) fn new(description: &sdp::Session) -> Announced {
        let medias = description.medias.iter().zip(0..).map(|(media, id)| {
            let format = media.formats.first()?.clone();
            Some(Media {
                track: format.track(TrackId(id)),
                format,
            })
        });
        Announced {
            medias: medias.collect(),
        }
    }

    pub(super) fn has(&self, media: usize) -> bool {
        self.medias.get(media).is_some_and(Option::is_some)
    }

    /// The tracks of the medias that were set up.
    pub(super) fn tracks(&self, set_up: &[usize]) -> Tracks {
        set_up
            .iter()
            .filter_map(|media| Some(self.medias.get(*media)?.as_ref()?.track.clone()))
            .collect()
    }
}

/// A publication fed by RTP.
pub(super) struct Recording {
    publisher: Publisher,
    notices: Notices,
    /// By the number of the media.
    receivers: Vec<Option<Receiver>>,
    timeline: Timeline,
    received: Vec<Received>,
    cap: Option<Cap>,
    /// When the publisher may be asked for a keyframe again.
    next_request: Instant,
    wants_keyframe: bool,
}

impl Recording {
    pub(super) fn new(
        now: Instant,
        publisher: Publisher,
        announced: &Announced,
        set_up: &[usize],
        delivery: Delivery,
        mut ssrc: impl FnMut() -> u32,
    ) -> Recording {
        let receivers = announced.medias.iter().enumerate().map(|(number, media)| {
            let media = media.as_ref().filter(|_| set_up.contains(&number))?;
            Some(Receiver::new(&media.format, media.track.clone(), delivery, ssrc()))
        });
        Recording {
            notices: publisher.notices(),
            publisher,
            receivers: receivers.collect(),
            timeline: Timeline::default(),
            received: Vec::new(),
            cap: None,
            next_request: now,
            wants_keyframe: false,
        }
    }

    /// What may be sent from now on, in bits per second.
    pub(super) fn limit(&mut self, now: Instant, max_bitrate: Option<u64>) {
        match (&mut self.cap, max_bitrate) {
            (Some(cap), Some(rate)) => cap.set_rate(rate),
            (cap, rate) => *cap = rate.map(|rate| Cap::new(now, rate)),
        }
    }

    /// Waits until this publisher must stop, and meanwhile notes who wants a keyframe. Cancel safe; comes back when there
    /// is a keyframe to be asked for.
    pub(super) async fn notice(&mut self) -> Option<CloseReason> {
        match self.notices.next().await {
            Notice::Stop(reason) => Some(reason),
            Notice::Keyframe => {
                self.wants_keyframe = true;
                None
            }
        }
    }

    /// The stage that closed the stream, and its words.
    pub(super) fn closed_by_stage(&self) -> Option<String> {
        self.publisher.path().closed_by_stage()
    }

    /// Takes an RTP or RTCP packet of one media.
    pub(super) fn handle(&mut self, now: Instant, media: usize, rtcp: bool, data: &Bytes) -> Result<(), End> {
        if let Some(cap) = &mut self.cap
            && !cap.admits(now, data.len())
        {
            return Err(End::Bitrate(cap.rate()));
        }
        let Some(Some(receiver)) = self.receivers.get_mut(media) else {
            return Ok(());
        };
        if rtcp {
            receiver.handle_rtcp(now, data);
            return Ok(());
        }
        receiver.handle_rtp(now, data, &mut self.timeline, &mut self.received);
        self.publish(now)
    }

    /// When a packet that did not come is given up, or a keyframe asked for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let request = self.wants_keyframe.then_some(self.next_request);
        let packets = self.receivers.iter().flatten().filter_map(Receiver::poll_timeout);
        packets.chain(request).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        for receiver in self.receivers.iter_mut().flatten() {
            receiver.handle_timeout(now, &mut self.timeline, &mut self.received);
        }
        self.publish(now)
    }

    fn publish(&mut self, now: Instant) -> Result<(), End> {
        let mut received = std::mem::take(&mut self.received);
        let outcome = received.drain(..).try_for_each(|Received { frame, codec }| {
            if let Some(codec) = codec {
                self.change_codec(now, frame.track, codec)?;
            }
            self.publisher.push_quietly(now, wall_clock(), frame)
        });
        self.received = received;
        outcome.map_err(End::Stream)
    }

    /// Wakes the readers for all that came together.
    pub(super) fn tell(&mut self) {
        self.publisher.tell();
    }

    fn change_codec(&mut self, now: Instant, id: TrackId, codec: Codec) -> Result<(), CloseReason> {
        let receivers = self.receivers.iter().flatten();
        let tracks: Vec<Track> = receivers.map(|receiver| receiver.track().clone()).collect();
        let tracks = tracks.into_iter().map(|track| {
            if track.id == id {
                Track {
                    codec: codec.clone(),
                    ..track
                }
            } else {
                track
            }
        });
        self.publisher
            .set_tracks(now, tracks.collect::<Arc<[Track]>>())
            .map_err(|_| CloseReason::Kicked)
    }

    /// Receiver reports, one per media that has something to say.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<(usize, Bytes)> {
        let receivers = self.receivers.iter_mut().enumerate();
        receivers
            .filter_map(|(media, receiver)| Some((media, receiver.as_mut()?.report(now, CNAME))))
            .collect()
    }

    /// Requests for a keyframe, one per video that has begun, when somebody wants one and the last is long enough ago.
    pub(super) fn keyframe_requests(&mut self, now: Instant) -> Vec<(usize, Bytes)> {
        if !self.wants_keyframe || now < self.next_request {
            return Vec::new();
        }
        self.wants_keyframe = false;
        self.next_request = now + KEYFRAME_EVERY;
        let receivers = self.receivers.iter_mut().enumerate();
        let videos = receivers.filter_map(|(media, receiver)| Some((media, receiver.as_mut()?)));
        videos
            .filter(|(_, receiver)| receiver.track().kind == Kind::Video)
            .filter_map(|(media, receiver)| Some((media, receiver.keyframe_request(now, CNAME)?)))
            .collect()
    }

    /// Brings the session's counters up to date.
    pub(super) fn count(&self, traffic: &Traffic) {
        let mut lost = 0;
        let mut in_error = 0;
        let mut packets = 0;
        let mut jitter = 0;
        let (mut rtcp, mut rtcp_in_error) = (0, 0);
        for receiver in self.receivers.iter().flatten() {
            let counts = receiver.counts();
            packets += counts.packets;
            lost += counts.packets_lost;
            in_error += counts.packets_in_error;
            rtcp += counts.rtcp_packets;
            rtcp_in_error += counts.rtcp_packets_in_error;
            let micros = u64::from(counts.jitter) * 1_000_000 / u64::from(receiver.track().clock_rate);
            jitter = jitter.max(micros);
        }
        traffic.inbound_rtp_packets.store(packets);
        traffic.inbound_rtp_packets_lost.store(lost);
        traffic.inbound_rtp_packets_in_error.store(in_error);
        traffic.inbound_rtp_packets_jitter.store(jitter);
        traffic.inbound_rtcp_packets.store(rtcp);
        traffic.inbound_rtcp_packets_in_error.store(rtcp_in_error);
    }

    pub(super) fn close(self, now: Instant, reason: CloseReason) {
        self.publisher.close(now, reason);
    }
}
