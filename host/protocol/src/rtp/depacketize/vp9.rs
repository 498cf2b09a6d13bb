//! VP9 (RFC 9628): a payload descriptor, then a piece of a layer frame. All layer frames with one timestamp make a frame.

use bytes::Bytes;
use wasmtx_media::codec::vp9;
use wasmtx_media::read::Cursor;
use wasmtx_media::{Error, Flags};

use super::fragments::Fragments;
use super::{Output, Unit};
use crate::rtp::packet::Packet;

/// References of a frame in flexible mode (section 4.2).
const MAX_REFERENCES: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    fragments: Fragments,
}

impl Depacketizer {
    pub(super) fn is_pending(&self) -> bool {
        self.fragments.is_pending()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let descriptor = Descriptor::read(&packet.payload);
        let first = descriptor.as_ref().is_ok_and(|descriptor| descriptor.first);
        // A further spatial layer starts a layer frame, not a frame.
        let first =
            first && !(self.fragments.is_pending() && descriptor.as_ref().is_ok_and(|descriptor| descriptor.upper));
        self.fragments.handle_packet(packet, lost, first, out);
        let result = descriptor.and_then(|descriptor| self.fragments.extend(descriptor.payload));
        if result.is_err() {
            self.fragments.damage();
        }
        if packet.header.marker
            && let Some((payload, timestamp)) = self.fragments.finish(out)
        {
            let flags = Flags::NONE.set(Flags::KEY, vp9::is_key(&payload));
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
/// |I|P|L|F|B|E|V|Z|
/// |M| PICTURE ID  |  if I, two bytes if M
/// | TID |U| SID |D|  if L
/// |   TL0PICIDX   |  if L and not F
/// | P_DIFF      |N|  if P and F, up to three
/// | SS …          |  if V
/// ```
struct Descriptor<'a> {
    /// The start of a layer frame.
    first: bool,
    /// Of a spatial layer above the lowest.
    upper: bool,
    payload: &'a [u8],
}

impl<'a> Descriptor<'a> {
    fn read(payload: &'a Bytes) -> Result<Descriptor<'a>, Error> {
        let mut cursor = Cursor::new(payload);
        let byte = cursor.u8()?;
        let has = |bit: u8| byte & bit != 0;
        let flexible = has(0x10);
        if has(0x80) && cursor.u8()? & 0x80 != 0 {
            cursor.u8()?;
        }
        let mut upper = false;
        if has(0x20) {
            upper = cursor.u8()? & 0x0e != 0;
            if !flexible {
                cursor.u8()?;
            }
        }
        if has(0x40) && flexible {
            let mut references = 0usize;
            while cursor.u8()? & 1 != 0 {
                references = references.saturating_add(1);
                if references >= MAX_REFERENCES {
                    return Err(Error::Invalid("VP9 references"));
                }
            }
        }
        if has(0x02) {
            skip_scalability(&mut cursor)?;
        }
        Ok(Descriptor {
            first: has(0x08),
            upper,
            payload: cursor.rest(),
        })
    }
}

/// `N_S` (3), Y, G, then sizes of the layers and a picture group (section 4.2.1).
fn skip_scalability(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let byte = cursor.u8()?;
    if byte & 0x10 != 0 {
        let layers = usize::from(byte >> 5).saturating_add(1);
        cursor.skip(layers.saturating_mul(4))?;
    }
    if byte & 0x08 != 0 {
        for _ in 0..cursor.u8()? {
            let references = cursor.u8()? >> 2 & 0x03;
            cursor.skip(references.into())?;
        }
    }
    Ok(())
}
