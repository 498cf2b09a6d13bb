//! VP8 (RFC 7741): a payload descriptor, then a piece of the frame.

use bytes::Bytes;
use wasmtx_media::codec::vp8;
use wasmtx_media::read::Cursor;
use wasmtx_media::{Error, Flags};

use super::fragments::Fragments;
use super::{Output, Unit};
use crate::rtp::packet::Packet;

#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    fragments: Fragments,
    /// The N bit of the first packet: no other frame needs this one.
    disposable: bool,
}

impl Depacketizer {
    pub(super) fn is_pending(&self) -> bool {
        self.fragments.is_pending()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let descriptor = Descriptor::read(&packet.payload);
        let first = descriptor.as_ref().is_ok_and(|descriptor| descriptor.first);
        self.fragments.handle_packet(packet, lost, first, out);
        let result = descriptor.and_then(|descriptor| {
            if descriptor.first {
                self.disposable = descriptor.disposable;
            }
            self.fragments.extend(descriptor.payload)
        });
        if result.is_err() {
            self.fragments.damage();
        }
        if packet.header.marker
            && let Some((payload, timestamp)) = self.fragments.finish(out)
        {
            let flags = Flags::NONE
                .set(Flags::KEY, vp8::is_key(&payload))
                .set(Flags::DISPOSABLE, self.disposable);
            out.push(Unit {
                payload,
                timestamp,
                duration: 0,
                flags,
                codec: None,
            });
        }
        result
    }
}

/// ```text
///  0 1 2 3 4 5 6 7
/// |X|R|N|S|R| PID |
/// |I|L|T|K| RSV   |  if X
/// |M| PictureID   |  if I, two bytes if M
/// |   TL0PICIDX   |  if L
/// |TID|Y| KEYIDX  |  if T or K
/// ```
struct Descriptor<'a> {
    /// The start of the first partition.
    first: bool,
    disposable: bool,
    payload: &'a [u8],
}

impl<'a> Descriptor<'a> {
    fn read(payload: &'a Bytes) -> Result<Descriptor<'a>, Error> {
        let mut cursor = Cursor::new(payload);
        let byte = cursor.u8()?;
        if byte & 0x80 != 0 {
            let extension = cursor.u8()?;
            if extension & 0x80 != 0 && cursor.u8()? & 0x80 != 0 {
                cursor.u8()?;
            }
            if extension & 0x40 != 0 {
                cursor.u8()?;
            }
            if extension & 0x30 != 0 {
                cursor.u8()?;
            }
        }
        let first = byte & 0x10 != 0 && byte & 0x07 == 0;
        Ok(Descriptor {
            first,
            disposable: byte & 0x20 != 0,
            payload: cursor.rest(),
        })
    }
}
