//! M-JPEG (RFC 2435): the scan in fragments, the quantisation tables in the first one (Q 255).

use wasmtx_media::Error;
use wasmtx_media::codec::jpeg::{Image, Sampling};

use super::Writer;

const IN_BAND_TABLES: u8 = 255;
const RESTART_MARKERS: u8 = 64;
/// F and L set, count 0x3fff: the receiver may not decode parts of a frame (section 3.1.7).
const WHOLE_FRAME: [u8; 2] = [0xff, 0xff];

pub(super) fn image(writer: &mut Writer, payload: &[u8]) -> Result<(), Error> {
    let image = Image::parse(payload)?;
    let blocks =
        |pixels: u16| u8::try_from(pixels.div_ceil(8)).map_err(|_| Error::Unsupported("JPEG above 2040 pixels"));
    let (width, height) = (blocks(image.width)?, blocks(image.height)?);
    let kind = match image.sampling {
        Sampling::Yuv422 => 0,
        Sampling::Yuv420 => 1,
    };
    let kind = if image.restart_interval > 0 {
        kind | RESTART_MARKERS
    } else {
        kind
    };
    let mut head = Vec::with_capacity(144);
    let mut offset = 0usize;
    loop {
        let [_, a, b, c] = u32::try_from(offset)
            .map_err(|_| Error::TooLarge("JPEG"))?
            .to_be_bytes();
        if offset >= 1 << 24 {
            return Err(Error::TooLarge("JPEG"));
        }
        head.clear();
        head.extend_from_slice(&[0, a, b, c, kind, IN_BAND_TABLES, width, height]);
        if image.restart_interval > 0 {
            head.extend_from_slice(&image.restart_interval.to_be_bytes());
            head.extend_from_slice(&WHOLE_FRAME);
        }
        if offset == 0 {
            head.extend_from_slice(&[0, 0, 0, 128]);
            image.tables.iter().for_each(|table| head.extend_from_slice(table));
        }
        let rest = &image.scan[offset..];
        let part = &rest[..rest.len().min(writer.room - head.len())];
        writer.packet(&[&head, part])?;
        offset += part.len();
        if offset == image.scan.len() {
            break;
        }
    }
    writer.mark_last();
    Ok(())
}
