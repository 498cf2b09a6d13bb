//! Frames into RTP packets, once for all readers of a track.
//!
//! All packets of a frame lie in one buffer, each behind the four bytes of RTSP's interleaving, so that a reader over TCP
//! gets a frame with one write and a reader over UDP gets slices of the same bytes:
//!
//! ```text
//! +-----+---------+------------+------------+-----+-----
//! | '$' | channel | length (2) | RTP packet | '$' | …
//! +-----+---------+------------+------------+-----+-----
//! ```

mod aac;
mod av1;
mod framed;
mod jpeg;
mod nal;
mod simple;
mod vpx;

use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::{Codec, Error, Flags, Frame, Track};

use super::Format;
use super::packet::{HEADER_SIZE, Header};

/// Bytes before each packet: `$`, channel, length (RFC 2326 section 10.12).
pub const INTERLEAVED_HEADER: usize = 4;
/// The largest RTP packet that leaves an Ethernet frame with IPv6 and UDP headers unfragmented, with room for a tunnel.
pub const DEFAULT_MTU: usize = 1_452;
/// Below this no payload format has room for its headers.
pub const MIN_MTU: usize = 256;

/// How the packets of a track are numbered and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The synchronisation source of the packets; random.
    pub ssrc: u32,
    /// The sequence number of the first packet; random.
    pub first_sequence: u16,
    /// Added to every timestamp; random.
    pub timestamp_offset: u32,
    /// The largest RTP packet, header included: [`MIN_MTU`] to 65,535. `udpMaxPayloadSize` of the configuration.
    pub mtu: usize,
    /// The interleaved channel written before each packet. A reader that negotiated another one cannot use
    /// [`Packetized::interleaved`] as it is.
    pub channel: u8,
}

/// The packets of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packetized {
    buffer: Bytes,
    /// Where each packet ends in the buffer.
    ends: Box<[u32]>,
    timestamp: u32,
}

impl Packetized {
    /// All packets, each behind its interleaved header.
    pub fn interleaved(&self) -> &Bytes {
        &self.buffer
    }

    /// The RTP packets, as shares of the buffer.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = Bytes> {
        (0..self.ends.len()).map(|index| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
            self.buffer.slice(start + INTERLEAVED_HEADER..self.ends[index] as usize)
        })
    }

    /// How many packets there are.
    pub fn count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Bytes of payload in all packets, as sender reports count them.
    pub fn octets(&self) -> u32 {
        (self.buffer.len() - self.ends.len() * (INTERLEAVED_HEADER + HEADER_SIZE)) as u32
    }

    /// The sequence number of the first packet; 0 when there is none.
    pub fn first_sequence(&self) -> u16 {
        let field = self.buffer.get(INTERLEAVED_HEADER + 2..INTERLEAVED_HEADER + 4);
        field.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The RTP timestamp of the packets.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }
}

/// Cuts the frames of one track into packets.
#[derive(Debug)]
pub struct Packetizer {
    payload_type: u8,
    options: Options,
    next_sequence: u16,
    /// Counts the frames, for VP9's picture ids.
    picture: u16,
}

impl Packetizer {
    /// For a track served in `format`.
    pub fn new(format: &Format, options: Options) -> Packetizer {
        let mtu = options.mtu.clamp(MIN_MTU, usize::from(u16::MAX));
        let options = Options { mtu, ..options };
        Packetizer {
            payload_type: format.payload_type,
            options,
            next_sequence: options.first_sequence,
            picture: 0,
        }
    }

    /// The packets of one frame. `track` is the frame's track as it stands now: before a keyframe of H264 and H265 its
    /// parameter sets go in band. Fails when the payload is not in the canonical form of its codec or has no RTP form
    /// (a JPEG with tables of its own); nothing is numbered then.
    pub fn packetize(&mut self, frame: &Frame, track: &Track) -> Result<Packetized, Error> {
        if frame.payload.is_empty() {
            return Err(Error::Truncated);
        }
        let timestamp = self.timestamp(frame.pts);
        let header = Header {
            marker: false,
            payload_type: self.payload_type,
            sequence: self.next_sequence,
            timestamp,
            ssrc: self.options.ssrc,
        };
        let mut writer = Writer::new(header, &self.options, frame.payload.len());
        let payload = &frame.payload;
        match &track.codec {
            Codec::H264(parameters) => nal::h264(&mut writer, payload, frame.is_key().then_some(parameters))?,
            Codec::H265(parameters) => nal::h265(&mut writer, payload, frame.is_key().then_some(parameters))?,
            Codec::Av1(parameters) => av1::unit(&mut writer, payload, frame.is_key().then_some(parameters))?,
            Codec::Vp8 => vpx::vp8(&mut writer, payload)?,
            Codec::Vp9 => vpx::vp9(&mut writer, payload, self.picture)?,
            Codec::Mjpeg => jpeg::image(&mut writer, payload)?,
            Codec::Aac(_) => aac::frame(&mut writer, payload)?,
            Codec::Mp3 { .. } => framed::mpeg(&mut writer, payload)?,
            Codec::Ac3 { .. } => framed::ac3(&mut writer, payload)?,
            Codec::G711 { channels, .. } => simple::samples(&mut writer, frame, 1, *channels)?,
            Codec::Lpcm {
                bit_depth, channels, ..
            } => simple::samples(&mut writer, frame, bit_depth / 8, *channels)?,
            Codec::Generic { .. } => simple::whole(&mut writer, payload, frame.flags.contains(Flags::MARKER))?,
            _ => simple::whole(&mut writer, payload, false)?,
        }
        self.next_sequence = writer.header.sequence;
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        Ok(writer.finish(timestamp))
    }

    /// The sequence number of the next packet, for `RTP-Info`.
    pub fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// The synchronisation source of the packets.
    pub fn ssrc(&self) -> u32 {
        self.options.ssrc
    }

    /// The RTP timestamp of a presentation time.
    pub fn timestamp(&self, pts: i64) -> u32 {
        // Modulo 2^32 is what the field is.
        (pts as u32).wrapping_add(self.options.timestamp_offset)
    }
}

/// Appends packets to one buffer.
struct Writer {
    buffer: BytesMut,
    ends: Vec<u32>,
    header: Header,
    channel: u8,
    /// Payload bytes that fit into a packet.
    room: usize,
}

impl Writer {
    fn new(header: Header, options: &Options, payload: usize) -> Writer {
        let room = options.mtu - HEADER_SIZE;
        let packets = payload / room + 2;
        Writer {
            buffer: BytesMut::with_capacity(payload + packets * (INTERLEAVED_HEADER + HEADER_SIZE + 16)),
            ends: Vec::with_capacity(packets),
            header,
            channel: options.channel,
            room,
        }
    }

    /// Appends a packet whose payload is the parts one after the other.
    fn packet(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let length = u16::try_from(HEADER_SIZE + payload).map_err(|_| Error::TooLarge("RTP packet"))?;
        self.buffer.put_slice(&[b'$', self.channel]);
        self.buffer.put_u16(length);
        self.buffer.put_slice(&self.header.to_bytes());
        for part in parts {
            self.buffer.put_slice(part);
        }
        self.ends
            .push(u32::try_from(self.buffer.len()).map_err(|_| Error::TooLarge("frame"))?);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        Ok(())
    }

    /// Sets the marker bit of the packet appended last.
    fn mark_last(&mut self) {
        let start = match self.ends.as_slice() {
            [] => return,
            [_] => 0,
            [.., before, _] => *before as usize,
        };
        self.buffer[start + INTERLEAVED_HEADER + 1] |= 0x80;
    }

    fn finish(self, timestamp: u32) -> Packetized {
        Packetized {
            buffer: self.buffer.freeze(),
            ends: self.ends.into_boxed_slice(),
            timestamp,
        }
    }
}
