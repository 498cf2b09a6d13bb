//! Audio whose frames say how long they are: MPEG audio (RFC 2250 section 3.5) and AC-3 (RFC 4184 section 4). A packet holds
//! whole frames, or a fragment of one.
//!
//! ```text
//! MPA:  | must be zero (16)     | fragment offset (16) |   0: whole frames, or the beginning of one
//! AC-3: | 0 (6) | type (2)      | number (8)           |   3: a further fragment
//! ```

use bytes::BytesMut;
use wasmtx_media::codec::{ac3, mp3};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Codec, Error, Flags};

use super::{Output, Unit};
use crate::rtp::packet::Packet;

const FURTHER_FRAGMENT: u8 = 3;

#[derive(Debug)]
pub(super) struct Depacketizer {
    /// As the frames so far say, and before them the SDP.
    codec: Codec,
    held: Option<Held>,
}

/// The frame whose end is not there yet.
#[derive(Debug)]
struct Held {
    timestamp: u32,
    buffer: BytesMut,
    head: Head,
}

/// What the beginning of a frame says.
#[derive(Debug)]
struct Head {
    length: usize,
    /// Ticks.
    duration: u32,
    codec: Codec,
}

impl Depacketizer {
    /// For [`Codec::Mp3`] or [`Codec::Ac3`].
    pub(super) fn new(codec: &Codec) -> Depacketizer {
        Depacketizer {
            codec: codec.clone(),
            held: None,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let mut cursor = Cursor::new(&packet.payload);
        let is_first = match self.codec {
            Codec::Mp3 { .. } => cursor.u32()? & 0xffff == 0,
            _ => cursor.u16()?.to_be_bytes()[0] & 3 != FURTHER_FRAGMENT,
        };
        match self.held.take() {
            Some(held) if !is_first && !lost && held.timestamp == packet.header.timestamp => {
                self.extend(held, cursor.rest(), out)
            }
            held => {
                if held.is_some() || !is_first {
                    out.drop_frame();
                }
                if is_first {
                    self.begin(packet, cursor.rest(), out)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn begin(&mut self, packet: &Packet, mut rest: &[u8], out: &mut Output<'_>) -> Result<(), Error> {
        let mut timestamp = packet.header.timestamp;
        while !rest.is_empty() {
            let head = self.head(rest).inspect_err(|_| out.drop_frame())?;
            let Some((frame, behind)) = rest.split_at_checked(head.length) else {
                let buffer = BytesMut::from(rest);
                self.held = Some(Held {
                    timestamp,
                    buffer,
                    head,
                });
                return Ok(());
            };
            rest = behind;
            let duration = head.duration;
            self.push(frame, timestamp, head, out);
            timestamp = timestamp.wrapping_add(duration);
        }
        Ok(())
    }

    /// A frame never grows past the length that its beginning says, which its codec bounds.
    fn extend(&mut self, mut held: Held, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Error> {
        let length = held.buffer.len().saturating_add(bytes.len());
        if length > held.head.length {
            out.drop_frame();
            return Err(Error::Invalid("length of audio fragments"));
        }
        held.buffer.extend_from_slice(bytes);
        if length < held.head.length {
            self.held = Some(held);
        } else {
            self.push(&held.buffer, held.timestamp, held.head, out);
        }
        Ok(())
    }

    fn push(&mut self, frame: &[u8], timestamp: u32, head: Head, out: &mut Output<'_>) {
        let is_new = head.codec != self.codec;
        if is_new {
            self.codec = head.codec;
        }
        out.push(Unit {
            payload: frame.to_vec().into(),
            timestamp,
            duration: head.duration,
            flags: Flags::KEY,
            codec: is_new.then(|| self.codec.clone()),
        });
    }

    fn head(&self, frame: &[u8]) -> Result<Head, Error> {
        if let Codec::Ac3 { sample_rate, .. } = self.codec {
            let header = ac3::Header::parse(frame)?;
            if header.sample_rate != sample_rate {
                return Err(Error::Unsupported("AC-3 of another sample rate than its clock"));
            }
            let channels = header.channels;
            return Ok(Head {
                length: header.length,
                duration: ac3::SAMPLES,
                codec: Codec::Ac3 { sample_rate, channels },
            });
        }
        let header = mp3::Header::parse(frame)?;
        let ticks = header.samples.saturating_mul(mp3::CLOCK_RATE);
        Ok(Head {
            length: header.length,
            duration: ticks.checked_div(header.sample_rate).unwrap_or_default(),
            codec: Codec::Mp3 {
                sample_rate: header.sample_rate,
                channels: header.channels,
            },
        })
    }
}
