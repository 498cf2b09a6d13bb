//! Baseline JPEG as RFC 2435 carries it: three components, 4:2:0 or 4:2:2, 8-bit tables, the Huffman tables of the
//! standard's annex K. [`Image`] is taken out of a JFIF image and put back into one.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use crate::Error;
use crate::read::Cursor;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
/// Marker segments before the scan.
const MAX_SEGMENTS: usize = 256;

/// A quantisation table in zigzag order.
pub type Table = [u8; 64];

/// How many chroma samples there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Half the columns: type 0 of RFC 2435.
    Yuv422,
    /// Half the columns and half the rows: type 1.
    Yuv420,
}

/// The parts of an image that are not the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Pixels in a row.
    pub width: u16,
    /// Pixels in a column.
    pub height: u16,
    /// How many chroma samples there are.
    pub sampling: Sampling,
    /// Minimum coded units between restart markers, 0 without.
    pub restart_interval: u16,
    /// Of luma and of chroma.
    pub tables: [Table; 2],
    /// The entropy-coded data, restart markers included, without the end marker.
    pub scan: &'a [u8],
}

impl<'a> Image<'a> {
    /// Takes a JFIF image apart. Fails for what RFC 2435 cannot carry.
    pub fn parse(jfif: &'a [u8]) -> Result<Image<'a>, Error> {
        let mut cursor = Cursor::new(jfif);
        if cursor.array()? != [0xff, SOI] {
            return Err(Error::Invalid("JPEG start"));
        }
        let mut tables: [Option<Table>; 4] = [None; 4];
        let mut restart_interval = 0;
        let mut frame = None;
        for _ in 0..MAX_SEGMENTS {
            let marker = next_marker(&mut cursor)?;
            if marker == EOI {
                break;
            }
            let length = usize::from(cursor.u16()?)
                .checked_sub(2)
                .ok_or(Error::Invalid("JPEG segment"))?;
            let mut segment = Cursor::new(cursor.take(length)?);
            match marker {
                DQT => read_tables(&mut segment, &mut tables)?,
                SOF0 => frame = Some(FrameHeader::read(&mut segment)?),
                0xc1..=0xc3 | 0xc5..=0xcf => return Err(Error::Unsupported("JPEG process")),
                DHT => check_huffman(&mut segment)?,
                DRI => restart_interval = segment.u16()?,
                SOS => {
                    let frame: FrameHeader = frame.ok_or(Error::Invalid("JPEG scan before frame"))?;
                    let table = |index: u8| tables.get(usize::from(index)).copied().flatten();
                    let tables = [frame.tables[0], frame.tables[1]].map(table);
                    let [Some(luma), Some(chroma)] = tables else {
                        return Err(Error::Invalid("JPEG table"));
                    };
                    let FrameHeader {
                        width,
                        height,
                        sampling,
                        ..
                    } = frame;
                    let scan = trim_end(cursor.rest());
                    return Ok(Image {
                        width,
                        height,
                        sampling,
                        restart_interval,
                        tables: [luma, chroma],
                        scan,
                    });
                }
                _ => {}
            }
        }
        Err(Error::Invalid("JPEG without a scan"))
    }

    /// Appends the JFIF image without its scan and end marker.
    pub fn put_header(&self, jfif: &mut Vec<u8>) {
        jfif.extend_from_slice(&[0xff, SOI]);
        // JFIF 1.2, no density, no thumbnail.
        jfif.extend_from_slice(&[0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 2, 0, 0, 1, 0, 1, 0, 0]);
        for (id, table) in (0u8..).zip(&self.tables) {
            jfif.extend_from_slice(&[0xff, DQT, 0, 67, id]);
            jfif.extend_from_slice(table);
        }
        if self.restart_interval > 0 {
            let [high, low] = self.restart_interval.to_be_bytes();
            jfif.extend_from_slice(&[0xff, DRI, 0, 4, high, low]);
        }
        let ([h0, h1], [w0, w1]) = (self.height.to_be_bytes(), self.width.to_be_bytes());
        let luma = match self.sampling {
            Sampling::Yuv422 => 0x21,
            Sampling::Yuv420 => 0x22,
        };
        jfif.extend_from_slice(&[
            0xff, SOF0, 0, 17, 8, h0, h1, w0, w1, 3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1,
        ]);
        for (id, counts, symbols) in HUFFMAN {
            let [high, low] = u16::try_from(counts.len().saturating_add(symbols.len()).saturating_add(3))
                .unwrap_or_default()
                .to_be_bytes();
            jfif.extend_from_slice(&[0xff, DHT, high, low, id]);
            jfif.extend_from_slice(counts);
            jfif.extend_from_slice(symbols);
        }
        jfif.extend_from_slice(&[0xff, SOS, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
    }

    /// The whole JFIF image.
    pub fn to_jfif(&self) -> Vec<u8> {
        let mut jfif = Vec::with_capacity(self.scan.len().saturating_add(640));
        self.put_header(&mut jfif);
        jfif.extend_from_slice(self.scan);
        jfif.extend_from_slice(&[0xff, EOI]);
        jfif
    }
}

/// Width and height of a JFIF image, whatever its process.
pub fn dimensions(jfif: &[u8]) -> Option<(u32, u32)> {
    let mut cursor = Cursor::new(jfif);
    if cursor.array().ok()? != [0xff, SOI] {
        return None;
    }
    for _ in 0..MAX_SEGMENTS {
        let marker = next_marker(&mut cursor).ok()?;
        let length = usize::from(cursor.u16().ok()?).checked_sub(2)?;
        let mut segment = Cursor::new(cursor.take(length).ok()?);
        match marker {
            DHT | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                segment.u8().ok()?;
                let height = segment.u16().ok()?;
                return Some((segment.u16().ok()?.into(), height.into()));
            }
            SOS => return None,
            _ => {}
        }
    }
    None
}

/// The tables of annex K scaled to a quality of 1 to 99 (RFC 2435 appendix A).
pub fn scaled_tables(quality: u8) -> [Table; 2] {
    let quality = u32::from(quality.clamp(1, 99));
    let factor = if quality < 50 {
        5_000u32.checked_div(quality).unwrap_or(5_000)
    } else {
        200u32.saturating_sub(quality.saturating_mul(2))
    };
    [LUMA_QUANTIZER, CHROMA_QUANTIZER].map(|table| {
        table.map(|value| {
            let scaled = u32::from(value).saturating_mul(factor).saturating_add(50) / 100;
            u8::try_from(scaled.clamp(1, 255)).unwrap_or(u8::MAX)
        })
    })
}

#[derive(Clone, Copy)]
struct FrameHeader {
    width: u16,
    height: u16,
    sampling: Sampling,
    tables: [u8; 2],
}

impl FrameHeader {
    fn read(segment: &mut Cursor<'_>) -> Result<FrameHeader, Error> {
        if segment.u8()? != 8 {
            return Err(Error::Unsupported("JPEG precision"));
        }
        let (height, width) = (segment.u16()?, segment.u16()?);
        if width == 0 || height == 0 {
            return Err(Error::Invalid("JPEG size"));
        }
        if segment.u8()? != 3 {
            return Err(Error::Unsupported("JPEG components"));
        }
        let [[_, luma, table], [_, blue, blue_table], [_, red, red_table]] =
            [segment.array()?, segment.array()?, segment.array()?];
        let sampling = match (luma, blue, red) {
            (0x21, 0x11, 0x11) => Sampling::Yuv422,
            (0x22, 0x11, 0x11) => Sampling::Yuv420,
            // 4:2:2 written with doubled factors, as FFmpeg does.
            (0x22, 0x12, 0x12) => Sampling::Yuv422,
            _ => return Err(Error::Unsupported("JPEG sampling")),
        };
        if blue_table != red_table {
            return Err(Error::Unsupported("JPEG tables"));
        }
        Ok(FrameHeader {
            width,
            height,
            sampling,
            tables: [table, blue_table],
        })
    }
}

/// Markers may be filled up with `ff` before them.
fn next_marker(cursor: &mut Cursor<'_>) -> Result<u8, Error> {
    if cursor.u8()? != 0xff {
        return Err(Error::Invalid("JPEG marker"));
    }
    loop {
        match cursor.u8()? {
            0xff => {}
            marker => return Ok(marker),
        }
    }
}

fn read_tables(segment: &mut Cursor<'_>, tables: &mut [Option<Table>; 4]) -> Result<(), Error> {
    while !segment.is_empty() {
        let id = segment.u8()?;
        if id > 3 {
            return Err(Error::Unsupported("JPEG table precision"));
        }
        let table = segment.array()?;
        if let Some(slot) = tables.get_mut(usize::from(id)) {
            *slot = Some(table);
        }
    }
    Ok(())
}

/// A receiver of RFC 2435 uses the tables of annex K, so an image must, too.
fn check_huffman(segment: &mut Cursor<'_>) -> Result<(), Error> {
    while !segment.is_empty() {
        let id = segment.u8()?;
        let counts: [u8; 16] = segment.array()?;
        let symbols = segment.take(
            counts
                .iter()
                .map(|count| usize::from(*count))
                .fold(0, usize::saturating_add),
        )?;
        if !HUFFMAN
            .iter()
            .any(|known| (known.0, known.1, known.2) == (id, &counts, symbols))
        {
            return Err(Error::Unsupported("JPEG Huffman table"));
        }
    }
    Ok(())
}

/// The scan without the end marker and what some cameras write behind it. No other `ff d9` is in a scan: its `ff` are
/// followed by zeros or are restart markers (section B.1.1.5 of the standard).
fn trim_end(scan: &[u8]) -> &[u8] {
    let end = scan.windows(2).position(|pair| pair == [0xff, EOI]);
    end.and_then(|end| scan.get(..end)).unwrap_or(scan)
}

/// Table K.1 in zigzag order.
const LUMA_QUANTIZER: Table = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
];

/// Table K.2 in zigzag order.
const CHROMA_QUANTIZER: Table = [
    17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Tables K.3 to K.6: class and id, codes per length, symbols.
const HUFFMAN: [(u8, &[u8; 16], &[u8]); 4] = [
    (
        0x00,
        &[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    ),
    (0x10, &[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d], &LUMA_AC),
    (
        0x01,
        &[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    ),
    (0x11, &[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], &CHROMA_AC),
];

const LUMA_AC: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
    0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
    0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a,
    0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65,
    0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
    0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
    0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca,
    0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
    0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

const CHROMA_AC: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32,
    0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16,
    0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39,
    0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
    0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86,
    0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8,
    0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9,
    0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG_420: &[u8] = include_bytes!("../../testdata/jpeg-420.jpg");
    const JPEG_422: &[u8] = include_bytes!("../../testdata/jpeg-422.jpg");

    #[test]
    fn a_real_image_comes_apart_and_together_again() {
        for (file, sampling) in [(JPEG_420, Sampling::Yuv420), (JPEG_422, Sampling::Yuv422)] {
            let image = Image::parse(file).unwrap();
            assert_eq!((image.width, image.height, image.sampling), (176, 144, sampling));
            let jfif = image.to_jfif();
            assert_eq!(Image::parse(&jfif), Ok(image));
            assert_eq!(dimensions(&jfif), Some((176, 144)));
        }
    }

    #[test]
    fn every_truncation_of_the_headers_is_an_error() {
        let jfif = Image::parse(JPEG_420).unwrap().to_jfif();
        let scan = Image::parse(&jfif).unwrap().scan.len();
        for length in 0..jfif.len() - scan - 2 {
            assert!(Image::parse(&jfif[..length]).is_err(), "{length}");
            dimensions(&jfif[..length]);
        }
    }

    #[test]
    fn what_the_payload_format_cannot_carry_is_refused() {
        let jfif = Image::parse(JPEG_420).unwrap().to_jfif();
        let find = |marker| jfif.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
        let with = |at: usize, value| {
            let mut changed = jfif.clone();
            changed[at] = value;
            changed
        };
        let check = |jfif: &[u8], what| assert_eq!(Image::parse(jfif).err(), Some(Error::Unsupported(what)));
        check(&with(find(DHT) + 21, 7), "JPEG Huffman table");
        check(&with(find(SOF0) + 1, 0xc2), "JPEG process");
        check(&with(find(SOF0) + 11, 0x11), "JPEG sampling");
        check(&with(find(DQT) + 4, 0x10), "JPEG table precision");
    }

    #[test]
    fn quality_scales_the_tables() {
        assert_eq!(scaled_tables(50), [LUMA_QUANTIZER, CHROMA_QUANTIZER]);
        assert_eq!(scaled_tables(99)[0][0], 1);
        assert_eq!(scaled_tables(1)[1][0], 255);
    }
}
