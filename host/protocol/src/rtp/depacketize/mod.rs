//! RTP packets into frames, one file per family of payload formats.
//!
//! Packets come in order, each with the news whether others were lost before it. A frame that a loss may have touched is
//! dropped and counted; the next whole one carries [`Flags::DISCONTINUITY`]. What the peer sends never sizes an
//! allocation: frames grow with the bytes that came, up to the bounds of `wasmtx_media`.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod aac;
mod access_unit;
mod av1;
mod fragments;
mod framed;
mod h264;
mod h265;
mod jpeg;
mod simple;
mod vp8;
mod vp9;

use bytes::Bytes;
use wasmtx_media::{Codec, Error, Flags};

use super::Format;
use super::packet::Packet;

/// One frame as it came out of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// In the canonical form of the codec.
    pub payload: Bytes,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// In ticks, 0 when unknown.
    pub duration: u32,
    /// What can be said about it.
    pub flags: Flags,
    /// The codec with new parameters, when the stream brought some just before this frame.
    pub codec: Option<Codec>,
}

/// Puts the packets of one track together.
#[derive(Debug)]
pub struct Depacketizer {
    kind: Kind,
    /// Frames dropped because something was missing or wrong in them.
    dropped: u64,
    /// The next frame comes after a loss.
    discontinuity: bool,
    /// A loss before packets that carried nothing.
    lost: bool,
}

#[derive(Debug)]
enum Kind {
    H264(h264::Depacketizer),
    H265(h265::Depacketizer),
    Av1(av1::Depacketizer),
    Vp8(vp8::Depacketizer),
    Vp9(vp9::Depacketizer),
    Mjpeg(jpeg::Depacketizer),
    Aac(aac::Depacketizer),
    Framed(framed::Depacketizer),
    Simple(simple::Depacketizer),
}

impl Depacketizer {
    /// For packets of `format`, which carries `codec`.
    pub fn new(format: &Format, codec: &Codec) -> Depacketizer {
        let kind = match codec {
            Codec::H264(parameters) => Kind::H264(h264::Depacketizer::new(parameters.clone())),
            Codec::H265(parameters) => Kind::H265(h265::Depacketizer::new(parameters.clone())),
            Codec::Av1(parameters) => Kind::Av1(av1::Depacketizer::new(parameters.clone())),
            Codec::Vp8 => Kind::Vp8(vp8::Depacketizer::default()),
            Codec::Vp9 => Kind::Vp9(vp9::Depacketizer::default()),
            Codec::Mjpeg => Kind::Mjpeg(jpeg::Depacketizer::default()),
            Codec::Aac(config) => Kind::Aac(aac::Depacketizer::new(format, config)),
            Codec::Mp3 { .. } | Codec::Ac3 { .. } => Kind::Framed(framed::Depacketizer::new(codec)),
            _ => Kind::Simple(simple::Depacketizer::new(codec)),
        };
        Depacketizer {
            kind,
            dropped: 0,
            discontinuity: false,
            lost: false,
        }
    }

    /// Takes the next packet; `lost` when packets before it are missing. Appends the frames that are whole now. An error
    /// costs this packet and the frame it is part of, nothing else.
    pub fn handle(&mut self, packet: &Packet, lost: bool, frames: &mut Vec<Unit>) -> Result<(), Error> {
        self.discontinuity |= lost;
        self.lost |= lost;
        // Some senders keep paths open with packets of nothing, or of padding only.
        if packet.payload.is_empty() {
            return Ok(());
        }
        let lost = std::mem::take(&mut self.lost);
        let mut out = Output {
            frames,
            dropped: &mut self.dropped,
            discontinuity: &mut self.discontinuity,
        };
        match &mut self.kind {
            Kind::H264(h264) => h264.handle(packet, lost, &mut out),
            Kind::H265(h265) => h265.handle(packet, lost, &mut out),
            Kind::Av1(av1) => av1.handle(packet, lost, &mut out),
            Kind::Vp8(vp8) => vp8.handle(packet, lost, &mut out),
            Kind::Vp9(vp9) => vp9.handle(packet, lost, &mut out),
            Kind::Mjpeg(jpeg) => jpeg.handle(packet, lost, &mut out),
            Kind::Aac(aac) => aac.handle(packet, lost, &mut out),
            Kind::Framed(framed) => framed.handle(packet, lost, &mut out),
            Kind::Simple(simple) => simple.handle(packet, &mut out),
        }
    }

    /// Whether part of a frame is held.
    pub fn is_pending(&self) -> bool {
        match &self.kind {
            Kind::H264(h264) => h264.is_pending(),
            Kind::H265(h265) => h265.is_pending(),
            Kind::Av1(av1) => av1.is_pending(),
            Kind::Vp8(vp8) => vp8.is_pending(),
            Kind::Vp9(vp9) => vp9.is_pending(),
            Kind::Mjpeg(jpeg) => jpeg.is_pending(),
            Kind::Aac(aac) => aac.is_pending(),
            Kind::Framed(framed) => framed.is_pending(),
            Kind::Simple(_) => false,
        }
    }

    /// Frames dropped so far because something was missing or wrong in them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Where whole frames go.
struct Output<'a> {
    frames: &'a mut Vec<Unit>,
    dropped: &'a mut u64,
    discontinuity: &'a mut bool,
}

impl Output<'_> {
    fn push(&mut self, mut unit: Unit) {
        unit.flags = unit.flags.set(Flags::DISCONTINUITY, std::mem::take(self.discontinuity));
        self.frames.push(unit);
    }

    /// Counts a frame that is not whole.
    fn drop_frame(&mut self) {
        *self.dropped = self.dropped.saturating_add(1);
        *self.discontinuity = true;
    }
}
