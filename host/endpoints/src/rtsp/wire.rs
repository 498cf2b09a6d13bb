//! A publication as RTP, made once for all its RTSP readers.

use bytes::Bytes;
use wasmtx_hub::{Entry, Form, Publication};
use wasmtx_media::{Track, TrackId, WallClock};
use wasmtx_protocol::rtp::{Format, Packetized, Packetizer, Sender, packetize::Options};

use super::play::Interleaved;
use crate::tcp::Crews;

/// The tracks that RTSP readers see, each a media of the description: those that the publisher sends, as RTP carries
/// everything, and not what is made of them for others.
pub(super) fn medias(publication: &Publication) -> Vec<Track> {
    let tracks = publication.tracks();
    let sent = tracks.iter().filter(|track| track.derived.is_none());
    sent.cloned().collect()
}

/// The packets of one frame.
pub(super) struct Wire {
    /// The media of the description that the frame's track is.
    pub(super) media: usize,
    /// `None` when the frame has no RTP form; readers pass it over.
    pub(super) packets: Option<Packetized>,
}

/// Packs the frames of a publication, track by track.
pub(super) struct RtpForm {
    tracks: Vec<Outgoing>,
    /// Who writes these packets to readers over TCP.
    pub(super) crews: Crews<Interleaved>,
}

struct Outgoing {
    id: TrackId,
    packetizer: Packetizer,
    sender: Sender,
}

impl RtpForm {
    /// `seed` gives each track its random source, sequence and timestamp start (RFC 3550 section 5.1).
    pub(super) fn new(publication: &Publication, mtu: usize, mut seed: impl FnMut() -> u64) -> RtpForm {
        let tracks = medias(publication);
        let formats = Format::of_all(&tracks);
        let outgoing = tracks.iter().zip(formats).enumerate().map(|(media, (track, format))| {
            let [a, b, c, d, e, f, g, h] = seed().to_be_bytes();
            let ssrc = u32::from_be_bytes([a, b, c, d]);
            let options = Options {
                ssrc,
                first_sequence: u16::from_be_bytes([e, f]),
                timestamp_offset: u32::from_be_bytes([g, h, a, b]),
                mtu,
                channel: default_channel(media),
            };
            let sender = Sender::new(ssrc, track.clock_rate);
            Outgoing {
                id: track.id,
                packetizer: Packetizer::new(&format, options),
                sender,
            }
        });
        RtpForm {
            tracks: outgoing.collect(),
            crews: Crews::default(),
        }
    }

    pub(super) fn ssrc(&self, media: usize) -> Option<u32> {
        self.tracks.get(media).map(|track| track.packetizer.ssrc())
    }

    pub(super) fn next_sequence(&self, media: usize) -> Option<u16> {
        self.tracks.get(media).map(|track| track.packetizer.next_sequence())
    }

    /// The sender report of one media; `None` before its first frame.
    pub(super) fn report(&self, media: usize, now: WallClock) -> Option<Bytes> {
        self.tracks.get(media)?.sender.report(now, "wasmtx")
    }
}

/// The interleaved channel that nearly every client asks for; the packets are made for it.
pub(super) fn default_channel(media: usize) -> u8 {
    u8::try_from(media * 2).unwrap_or(u8::MAX)
}

impl Form for RtpForm {
    type Wire = Wire;

    fn make(&mut self, entry: &Entry) -> Wire {
        let frame = &entry.frame;
        let Some((media, outgoing)) = self
            .tracks
            .iter_mut()
            .enumerate()
            .find(|(_, track)| track.id == frame.track)
        else {
            return Wire {
                media: usize::MAX,
                packets: None,
            };
        };
        let packets = outgoing.packetizer.packetize(frame, &entry.tracks[entry.slot]).ok();
        if let (Some(packets), Some(wall)) = (&packets, frame.wall) {
            outgoing.sender.handle_sent(packets, wall);
        }
        Wire { media, packets }
    }
}
