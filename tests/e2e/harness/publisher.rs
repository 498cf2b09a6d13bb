//! A publisher that sends a frame when the test says so.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use socket2::SockRef;
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId};
use wasmtx_protocol::{
    rtp::{
        Format, Packetizer,
        packetize::{DEFAULT_MTU, Options},
    },
    rtsp::sdp,
};

use super::{Server, Session, session::Login};

/// Publishes one track.
pub(crate) struct Publisher {
    session: Session,
    packetizer: Packetizer,
    track: Track,
    sent: i64,
}

/// Ticks between two frames: 25 of them in a second of 90 kHz.
const STEP: i64 = 3_600;

impl Publisher {
    /// Begins to publish VP8, whose frames stand for themselves.
    #[track_caller]
    pub(crate) fn vp8(server: &Server, path: &str) -> Publisher {
        Publisher::new(server, path, Kind::Video, Codec::Vp8)
    }

    /// Begins to publish a video or data track with a clock of 90 kHz.
    #[track_caller]
    pub(crate) fn new(server: &Server, path: &str, kind: Kind, codec: Codec) -> Publisher {
        let publisher = Publisher::try_new(server, path, None, kind, codec);
        publisher.unwrap_or_else(|refusal| panic!("{path}: {refusal}"))
    }

    /// Begins to publish as somebody; the path may have a query.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn try_new(
        server: &Server,
        path: &str,
        login: Login<'_>,
        kind: Kind,
        codec: Codec,
    ) -> Result<Publisher, String> {
        let track = Track {
            id: TrackId(0),
            kind,
            codec,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        };
        let format = Format::of(&track, 96);
        let medias = sdp::Session::describe("wasmtx-e2e", [format.clone()]);
        let session = Session::publish(server.address("rtspAddress"), path, login, medias)?;
        let options = Options {
            ssrc: 1,
            first_sequence: 0,
            timestamp_offset: 0,
            mtu: DEFAULT_MTU,
            channel: session.channel(0),
        };
        Ok(Publisher {
            packetizer: Packetizer::new(&format, options),
            session,
            track,
            sent: 0,
        })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub(crate) fn try_send(&mut self, payload: &Bytes) -> io::Result<()> {
        let time = self.sent * STEP;
        self.sent += 1;
        let frame = Frame {
            track: self.track.id,
            number: 0,
            pts: time,
            dts: time,
            duration: u32::try_from(STEP).expect("a small number"),
            wall: None,
            flags: Flags::NONE,
            payload: payload.clone().into(),
        };
        let packets = self
            .packetizer
            .packetize(&frame, &self.track)
            .expect("a frame that can be sent");
        self.session.stream().write_all(packets.interleaved())
    }

    /// Sends a frame, which has to succeed.
    #[track_caller]
    pub(crate) fn send(&mut self, payload: &Bytes) {
        self.try_send(payload).expect("the server takes frames");
    }

    /// Sends frames, one after the other.
    #[track_caller]
    pub(crate) fn send_all(&mut self, payloads: &[Bytes]) {
        payloads.iter().for_each(|payload| self.send(payload));
    }

    /// Sends bytes that are no frame.
    #[track_caller]
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.session.stream().write_all(bytes).expect("the server takes bytes");
    }

    /// Waits for the server to end it, and answers how.
    pub(crate) fn until_end(&mut self) -> String {
        loop {
            if let Err(reason) = self.session.next() {
                return reason;
            }
        }
    }

    /// Goes without a word: the connection is reset.
    pub(crate) fn reset(self) {
        let linger = SockRef::from(self.session.stream()).set_linger(Some(Duration::ZERO));
        linger.expect("a socket of ours");
    }
}

/// Made-up VP8 frames, a keyframe every `interval` of them, each of `size` bytes and unlike all others.
pub(crate) fn made_up(count: usize, interval: usize, size: usize) -> Arc<[Bytes]> {
    let frames = (0..count).map(|number| {
        let mut frame = vec![number as u8 | 1; size];
        let key = number % interval == 0;
        // RFC 6386 section 9.1: bit 0 of the frame tag is clear in keyframes, behind the tag comes their start code and
        // then width and height.
        frame[0] = if key { 0x10 } else { 0x11 };
        if key {
            frame[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]);
        }
        frame[10..18].copy_from_slice(&(number as u64).to_be_bytes());
        Bytes::from(frame)
    });
    frames.collect()
}

/// The number that [`made_up`] wrote into a frame.
pub(crate) fn number_of(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[10..18].try_into().expect("eight bytes"))
}
