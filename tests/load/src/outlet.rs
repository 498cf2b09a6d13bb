//! One connection of a publisher: frames become RTP packets or RTMP messages, and leave as they are flushed.

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtx_media::{Codec, Frame, Track};
use wasmtx_protocol::{
    rtp::{
        Format, Packetizer,
        packetize::{DEFAULT_MTU, Options},
    },
    rtsp::{client::Event, sdp},
};

use crate::{
    chunks::{self, AUDIO, Address, OUR_SIZE, VIDEO},
    clip::Clip,
    rtmp::{Connection, Goal},
    session::{Buffer, Protocol, Role, Session, Step, Target},
};

/// What a server says to a publisher is read in pieces of this size, and not looked at.
const SAID: usize = 1_024;

/// An open connection that was agreed to.
pub(crate) enum Outlet {
    Packets(Box<Packets>),
    Messages(Box<Messages>),
}

/// RTSP, or a relay's bare stream.
pub(crate) struct Packets {
    session: Session,
    tracks: Vec<(Track, Packetizer)>,
    /// Packets behind their interleaved headers.
    stream: Vec<u8>,
    /// The same as datagrams.
    datagrams: Vec<Bytes>,
}

/// RTMP.
pub(crate) struct Messages {
    connection: Connection,
    out: Vec<u8>,
}

/// What a clip is announced as.
pub(crate) fn description(clip: &Clip) -> sdp::Session {
    sdp::Session::describe("wasmtx-load", clip.tracks().map(format))
}

/// The first two numbers of those that are not fixed (RFC 3551 section 6).
fn format(track: &Track) -> Format {
    Format::of(track, if matches!(track.codec, Codec::H264(_)) { 96 } else { 97 })
}

impl Outlet {
    /// Connects, announces the clip and comes back when the server has agreed.
    pub(crate) async fn open(target: &Target, path: &str, stream: u16, clip: &Clip, buffer: &Buffer) -> Result<Outlet> {
        if target.protocol == Protocol::Rtmp {
            let connection = Connection::open(target, path, Goal::Publish, |_| Ok(())).await?;
            let mut messages = Messages {
                connection,
                out: Vec::new(),
            };
            clip.tracks().for_each(|track| messages.configure(track));
            return Ok(Outlet::Messages(Box::new(messages)));
        }
        let mut session = Session::open(target, path, Role::Publish(description(clip))).await?;
        // A relay agrees to everything without a word.
        let mut agreed = target.protocol == Protocol::Bare;
        while !agreed {
            match session.step(buffer, |_| {}).await? {
                Step::Event(Event::Recording) => agreed = true,
                Step::End => bail!("the server closed the connection before it agreed"),
                _ => {}
            }
        }
        let tracks = clip.tracks().enumerate().map(|(media, track)| {
            let bare = (media * 2) as u8;
            let options = Options {
                ssrc: u32::from(stream) * 2 + media as u32 + 1,
                first_sequence: 0,
                timestamp_offset: 0,
                mtu: DEFAULT_MTU,
                channel: if target.protocol == Protocol::Bare {
                    bare
                } else {
                    session.channel(media)
                },
            };
            (track.clone(), Packetizer::new(&format(track), options))
        });
        let tracks = tracks.collect();
        Ok(Outlet::Packets(Box::new(Packets {
            session,
            tracks,
            stream: Vec::new(),
            datagrams: Vec::new(),
        })))
    }

    /// Takes a frame to be sent with the next flush.
    pub(crate) fn add(&mut self, frame: &Frame) -> Result<()> {
        match self {
            Outlet::Packets(packets) => packets.add(frame),
            Outlet::Messages(messages) => {
                messages.add(frame);
                Ok(())
            }
        }
    }

    /// Sends what was added, in one write where the connection is a stream.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        match self {
            Outlet::Packets(packets) => {
                let sent = packets.session.send(&packets.stream, packets.datagrams.drain(..)).await;
                packets.stream.clear();
                sent
            }
            Outlet::Messages(messages) => {
                messages.connection.stream.write_all(&messages.out).await?;
                messages.out.clear();
                Ok(())
            }
        }
    }

    /// Waits for something that the server says. Cancel safe.
    pub(crate) async fn step(&mut self, buffer: &Buffer) -> Result<Step> {
        match self {
            Outlet::Packets(packets) => packets.session.step(buffer, |_| {}).await,
            Outlet::Messages(messages) => {
                let size = messages.connection.stream.read(&mut [0; SAID]).await?;
                Ok(if size == 0 { Step::End } else { Step::Input(size) })
            }
        }
    }

    /// Ends it.
    pub(crate) async fn close(self) {
        match self {
            Outlet::Packets(packets) => packets.session.close().await,
            // The other side may be gone already, and that is what is wanted.
            Outlet::Messages(mut messages) => drop(messages.connection.stream.shutdown().await),
        }
    }
}

impl Packets {
    fn add(&mut self, frame: &Frame) -> Result<()> {
        let Some((track, packetizer)) = self.tracks.iter_mut().find(|(track, _)| track.id == frame.track) else {
            bail!("a frame of a track that was not announced")
        };
        let packetized = packetizer.packetize(frame, track)?;
        self.stream.extend_from_slice(packetized.interleaved());
        self.datagrams.extend(packetized.packets());
        Ok(())
    }
}

/// Message stream 1, a chunk stream for each kind.
const SOUNDS: Address = Address { chunks: 4, stream: 1 };
const PICTURES: Address = Address { chunks: 6, stream: 1 };

// FLV (Adobe's specification 10.1), section E.4.
const KEYFRAME_AVC: u8 = 0x17;
const OTHER_AVC: u8 = 0x27;
/// AAC, 44 kHz, 16 bits, stereo: fixed, the configuration says what it is.
const AAC: u8 = 0xaf;
const CONFIGURATION: u8 = 0;
const CODED: u8 = 1;

impl Messages {
    fn configure(&mut self, track: &Track) {
        match &track.codec {
            Codec::H264(parameters) => {
                let record = parameters.configuration_record();
                self.write(PICTURES, VIDEO, 0, &[KEYFRAME_AVC, CONFIGURATION, 0, 0, 0], &record);
            }
            Codec::Aac(config) => self.write(SOUNDS, AUDIO, 0, &[AAC, CONFIGURATION], &config.bytes()),
            // A clip has no others.
            _ => {}
        }
    }

    fn add(&mut self, frame: &Frame) {
        match frame.track.0 {
            0 => {
                let first = if frame.is_key() { KEYFRAME_AVC } else { OTHER_AVC };
                // Composition offset 0: nothing is reordered.
                let head = [first, CODED, 0, 0, 0];
                self.write(PICTURES, VIDEO, frame.dts / 90, &head, &frame.payload);
            }
            _ => self.write(SOUNDS, AUDIO, frame.dts / 48, &[AAC, CODED], &frame.payload),
        }
    }

    fn write(&mut self, address: Address, kind: u8, time: i64, head: &[u8], payload: &[u8]) {
        let body = [head, payload].concat();
        let time = u32::try_from(time).unwrap_or_default();
        chunks::write(&mut self.out, OUR_SIZE, address, kind, time, &body);
    }
}
