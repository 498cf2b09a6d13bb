//! M-JPEG (RFC 2435): what all images share is left out on the wire and put back here.
//!
//! ```text
//! | type-specific | fragment offset (24)                 |
//! | type          | Q             | width/8  | height/8  |
//! | restart interval (16)         | F L count            |  if type is 64 to 127
//! | 0 | precision | length (16)   | tables …             |  if Q is 128 or more, in the first packet
//! ```

use wasmtx_media::codec::jpeg::{self, Image, Sampling, Table};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Error, Flags};

use super::fragments::Fragments;
use super::{Output, Unit};
use crate::rtp::packet::Packet;

#[derive(Debug, Default)]
pub(super) struct Depacketizer {
    fragments: Fragments,
    /// Bytes of scan so far, for the offset of the next fragment.
    received: usize,
    /// Tables that came in band, with the Q that names them.
    tables: Option<(u8, [Table; 2])>,
}

impl Depacketizer {
    pub(super) fn is_pending(&self) -> bool {
        self.fragments.is_pending()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let header = Header::read(&packet.payload);
        let first = header.as_ref().is_ok_and(|header| header.offset == 0);
        self.fragments.handle_packet(packet, lost, first, out);
        let result = header.and_then(|header| self.handle_fragment(&header));
        if result.is_err() {
            self.fragments.damage();
        }
        if packet.header.marker {
            self.finish(out);
        }
        result
    }

    fn handle_fragment(&mut self, header: &Header<'_>) -> Result<(), Error> {
        if header.offset == 0 {
            self.received = 0;
            let tables = self.tables(header)?;
            let image = Image {
                width: header.width,
                height: header.height,
                sampling: header.sampling,
                restart_interval: header.restart_interval,
                tables,
                scan: &[],
            };
            let mut jfif = Vec::with_capacity(1024);
            image.put_header(&mut jfif);
            self.fragments.extend(&jfif)?;
        }
        if self.fragments.is_damaged() {
            return Ok(());
        }
        if header.offset != self.received {
            return Err(Error::Invalid("JPEG fragment offset"));
        }
        self.received = self.received.saturating_add(header.scan.len());
        self.fragments.extend(header.scan)
    }

    /// The tables of a first fragment: by quality, in band, or those that came in band before under the same Q.
    fn tables(&mut self, header: &Header<'_>) -> Result<[Table; 2], Error> {
        match (header.quality, header.tables) {
            (quality @ 1..=99, _) => Ok(jpeg::scaled_tables(quality)),
            (quality, []) => {
                let known = self.tables.filter(|(known, _)| *known == quality && quality != 255);
                known.map(|(_, tables)| tables).ok_or(Error::Invalid("JPEG tables"))
            }
            (quality, bytes) => {
                let mut cursor = Cursor::new(bytes);
                let luma: Table = cursor.array()?;
                // Some devices send one table for both.
                let chroma = cursor.array().unwrap_or(luma);
                self.tables = Some((quality, [luma, chroma]));
                Ok([luma, chroma])
            }
        }
    }

    fn finish(&mut self, out: &mut Output<'_>) {
        // Senders differ in whether they leave the end marker in.
        let Some((payload, timestamp)) = self.fragments.finish_with(out, |image| {
            if !image.ends_with(&[0xff, 0xd9]) {
                image.extend_from_slice(&[0xff, 0xd9]);
            }
        }) else {
            return;
        };
        out.push(Unit {
            payload,
            timestamp,
            duration: 0,
            flags: Flags::KEY,
            codec: None,
        });
    }
}

struct Header<'a> {
    offset: usize,
    sampling: Sampling,
    quality: u8,
    width: u16,
    height: u16,
    restart_interval: u16,
    tables: &'a [u8],
    scan: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(payload: &'a [u8]) -> Result<Header<'a>, Error> {
        let mut cursor = Cursor::new(payload);
        let _type_specific = cursor.u8()?;
        let offset = usize::try_from(cursor.u24()?).map_err(|_| Error::Truncated)?;
        let [kind, quality, width, height] = cursor.array()?;
        let sampling = match kind & 0x3f {
            0 => Sampling::Yuv422,
            1 => Sampling::Yuv420,
            _ => return Err(Error::Unsupported("JPEG type")),
        };
        if kind >= 128 || quality == 0 || (100..128).contains(&quality) {
            return Err(Error::Unsupported("JPEG type"));
        }
        if width == 0 || height == 0 {
            return Err(Error::Unsupported("JPEG above 2040 pixels"));
        }
        let mut restart_interval = 0;
        if kind >= 64 {
            restart_interval = cursor.u16()?;
            cursor.u16()?;
        }
        let mut tables = &[][..];
        if quality >= 128 && offset == 0 {
            cursor.u8()?;
            if cursor.u8()? != 0 {
                return Err(Error::Unsupported("JPEG table precision"));
            }
            let length = cursor.u16()?.into();
            tables = cursor.take(length)?;
        }
        let pixels = |blocks: u8| u16::from(blocks).saturating_mul(8);
        let (width, height) = (pixels(width), pixels(height));
        Ok(Header {
            offset,
            sampling,
            quality,
            width,
            height,
            restart_interval,
            tables,
            scan: cursor.rest(),
        })
    }
}
