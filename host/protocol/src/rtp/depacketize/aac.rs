//! AAC in access units with headers (RFC 3640, modes AAC-hbr and AAC-lbr), and in LATM with the configuration out of band
//! (RFC 6416 with `cpresent=0`).

use bytes::{Bytes, BytesMut};
use wasmtx_media::codec::aac;
use wasmtx_media::read::{Bits, Cursor};
use wasmtx_media::{Error, Flags};

use super::{Output, Unit};
use crate::rtp::packet::Packet;
use crate::rtp::{Format, fmtp};

/// The largest access unit: 6,144 bits per channel in the standard, this is far above.
const MAX_FRAME: usize = 64 * 1024;
/// Access units of one packet.
const MAX_FRAMES: usize = 64;

#[derive(Debug)]
pub(super) struct Depacketizer {
    layout: Layout,
    /// Ticks of one access unit.
    duration: u32,
    fragments: BytesMut,
    /// What the fragments held belong to: their timestamp, and how long they will be together where the packets say it.
    pending: Option<(u32, Option<usize>)>,
    /// The timestamp of a frame whose fragments are passed over.
    damaged: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Headers { size: u32, index: u32, index_delta: u32 },
    Latm,
}

impl Depacketizer {
    pub(super) fn new(format: &Format, config: &aac::Config) -> Depacketizer {
        let number = |key| fmtp::number::<u32>(&format.fmtp, key).unwrap_or(0).min(32);
        let layout = if format.encoding.eq_ignore_ascii_case("mp4a-latm") {
            Layout::Latm
        } else {
            Layout::Headers {
                size: number("sizelength"),
                index: number("indexlength"),
                index_delta: number("indexdeltalength"),
            }
        };
        // With SBR the clock of the format may be twice the one of the core coder.
        let duration = u64::from(config.frame_samples)
            .saturating_mul(format.clock_rate.into())
            .checked_div(config.sample_rate.into());
        let duration = duration.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or_default();
        Depacketizer {
            layout,
            duration,
            fragments: BytesMut::new(),
            pending: None,
            damaged: None,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let timestamp = packet.header.timestamp;
        if lost || self.pending.is_some_and(|(pending, _)| pending != timestamp) {
            self.abandon(out);
        }
        let result = match self.layout {
            Layout::Headers {
                size,
                index,
                index_delta,
            } => self.handle_headers(packet, [size, index, index_delta], out),
            Layout::Latm => self.handle_latm(packet, lost, out),
        };
        if result.is_err() {
            self.abandon(out);
        }
        result
    }

    fn handle_headers(&mut self, packet: &Packet, lengths: [u32; 3], out: &mut Output<'_>) -> Result<(), Error> {
        let [size_length, index_length, delta_length] = lengths;
        let mut cursor = Cursor::new(&packet.payload);
        let header_bits = u32::from(cursor.u16()?);
        let mut headers =
            Bits::new(cursor.take(usize::try_from(header_bits.div_ceil(8)).map_err(|_| Error::Truncated)?)?);
        let mut read = 0u32;
        let mut timestamp = packet.header.timestamp;
        for number in 0..MAX_FRAMES {
            let index_length = if number == 0 { index_length } else { delta_length };
            let header_length = size_length.saturating_add(index_length);
            if read.saturating_add(header_length) > header_bits || header_length == 0 {
                break;
            }
            read = read.saturating_add(header_length);
            let size = usize::try_from(headers.bits(size_length)?).map_err(|_| Error::Truncated)?;
            let index = headers.bits(index_length)?;
            if index != 0 && number > 0 {
                return Err(Error::Unsupported("AAC interleaving"));
            }
            if size > MAX_FRAME {
                return Err(Error::TooLarge("AAC frame"));
            }
            if size > cursor.remaining() {
                // The only header of its packet may be that of a fragment (section 3.2.3.2).
                if number > 0 || read.saturating_add(size_length) <= header_bits {
                    return Err(Error::Truncated);
                }
                return self.handle_fragment(packet, size, cursor.rest(), out);
            }
            if self.pending.is_some() {
                // The last fragment repeats the whole size, so only a frame of its own fits here.
                self.abandon(out);
            }
            let frame = cursor.take(size)?;
            if !frame.is_empty() {
                self.push(packet.payload.slice_ref(frame), timestamp, out);
            }
            timestamp = timestamp.wrapping_add(self.duration);
        }
        Ok(())
    }

    fn handle_fragment(
        &mut self,
        packet: &Packet,
        size: usize,
        bytes: &[u8],
        out: &mut Output<'_>,
    ) -> Result<(), Error> {
        if self.pending != Some((packet.header.timestamp, Some(size))) {
            self.abandon(out);
            if packet.header.marker {
                return Err(Error::Invalid("AAC fragment"));
            }
            self.pending = Some((packet.header.timestamp, Some(size)));
        }
        if self.fragments.len().saturating_add(bytes.len()) > size {
            return Err(Error::Invalid("AAC fragment"));
        }
        self.fragments.extend_from_slice(bytes);
        if packet.header.marker {
            if self.fragments.len() != size {
                return Err(Error::Truncated);
            }
            self.pending = None;
            let frame = self.fragments.split().freeze();
            self.push(frame, packet.header.timestamp, out);
        }
        Ok(())
    }

    /// Elements end with the marker bit; a packet without it holds a part of one element.
    fn handle_latm(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let (marker, timestamp) = (packet.header.marker, packet.header.timestamp);
        if lost && !marker {
            // Whether this is the first fragment nobody knows.
            self.damaged = Some(timestamp);
        }
        if let Some(damaged) = self.damaged {
            if damaged == timestamp {
                if marker {
                    self.damaged = None;
                    out.drop_frame();
                }
                return Ok(());
            }
            self.damaged = None;
            out.drop_frame();
        }
        if !marker || self.pending.is_some() {
            if self.fragments.len().saturating_add(packet.payload.len()) > MAX_FRAME {
                return Err(Error::TooLarge("AAC frame"));
            }
            self.pending = Some((timestamp, None));
            self.fragments.extend_from_slice(&packet.payload);
            if !marker {
                return Ok(());
            }
            self.pending = None;
            let element = self.fragments.split().freeze();
            return self.handle_elements(&element, timestamp, out);
        }
        self.handle_elements(&packet.payload, timestamp, out)
    }

    /// One or more elements: each a length in bytes of 255 and a last one below, then the access unit.
    fn handle_elements(&mut self, elements: &Bytes, mut timestamp: u32, out: &mut Output<'_>) -> Result<(), Error> {
        let mut cursor = Cursor::new(elements);
        for _ in 0..MAX_FRAMES {
            if cursor.is_empty() {
                break;
            }
            let mut size = 0usize;
            loop {
                let byte = cursor.u8()?;
                size = size.saturating_add(byte.into());
                if byte != 0xff {
                    break;
                }
            }
            let frame = cursor.take(size)?;
            if !frame.is_empty() {
                self.push(elements.slice_ref(frame), timestamp, out);
            }
            timestamp = timestamp.wrapping_add(self.duration);
        }
        Ok(())
    }

    fn push(&self, payload: Bytes, timestamp: u32, out: &mut Output<'_>) {
        out.push(Unit {
            payload,
            timestamp,
            duration: self.duration,
            flags: Flags::KEY,
            codec: None,
        });
    }

    fn abandon(&mut self, out: &mut Output<'_>) {
        if self.pending.take().is_some() {
            self.fragments.clear();
            out.drop_frame();
        }
    }
}
