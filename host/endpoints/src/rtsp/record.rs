//! The publishing side of a session: packets in, frames into the hub.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use wasmtx_hub::{CloseReason, Publisher, Replaced};
use wasmtx_media::{Codec, Track, TrackId, Tracks};
use wasmtx_protocol::{
    rtp::{Delivery, Format, Received, Receiver, Timeline},
    rtsp::sdp,
};

use super::registry::Traffic;
use crate::wall_clock;

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
    replaced: Replaced,
    /// By the number of the media.
    receivers: Vec<Option<Receiver>>,
    timeline: Timeline,
    received: Vec<Received>,
}

impl Recording {
    pub(super) fn new(
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
            replaced: publisher.replaced(),
            publisher,
            receivers: receivers.collect(),
            timeline: Timeline::default(),
            received: Vec::new(),
        }
    }

    /// Waits until this publisher must stop. Cancel safe.
    pub(super) async fn replaced(&mut self) -> CloseReason {
        self.replaced.wait().await
    }

    /// Takes an RTP or RTCP packet of one media.
    pub(super) fn handle(&mut self, now: Instant, media: usize, rtcp: bool, data: &Bytes) -> Result<(), CloseReason> {
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

    /// When a packet that did not come is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.receivers.iter().flatten().filter_map(Receiver::poll_timeout).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        for receiver in self.receivers.iter_mut().flatten() {
            receiver.handle_timeout(now, &mut self.timeline, &mut self.received);
        }
        self.publish(now)
    }

    fn publish(&mut self, now: Instant) -> Result<(), CloseReason> {
        let mut received = std::mem::take(&mut self.received);
        let outcome = received.drain(..).try_for_each(|Received { frame, codec }| {
            if let Some(codec) = codec {
                self.change_codec(now, frame.track, codec)?;
            }
            self.publisher.push(now, wall_clock(), frame)
        });
        self.received = received;
        outcome
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
            .map_err(|refusal| {
                tracing::warn!(path = %self.publisher.path().name, "{refusal}");
                CloseReason::Kicked
            })
    }

    /// Receiver reports, one per media that has something to say.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<(usize, Bytes)> {
        let receivers = self.receivers.iter_mut().enumerate();
        receivers
            .filter_map(|(media, receiver)| Some((media, receiver.as_mut()?.report(now, "wasmtx"))))
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
