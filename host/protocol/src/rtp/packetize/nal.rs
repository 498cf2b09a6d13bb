//! H264 (RFC 6184, packetization-mode 1) and H265 (RFC 7798): NAL units that fit share an aggregation packet, larger ones
//! are cut into fragmentation units.

use wasmtx_media::codec::{h264, h265};
use wasmtx_media::{Error, nal};

use super::Writer;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
/// Bytes before each NAL unit of an aggregation packet.
const SIZE: usize = 2;

/// An H264 access unit; before a keyframe its parameter sets.
pub(super) fn h264(writer: &mut Writer, payload: &[u8], parameters: Option<&h264::Parameters>) -> Result<(), Error> {
    let sets = parameters.map_or([&[][..]; 2], |parameters| [&parameters.sps, &parameters.pps]);
    packets(writer, payload, &sets, 1, |nals| match nals {
        Cut::Together(nals) => {
            // F and NRI are the largest of all (section 5.7.1).
            let importance = nals
                .iter()
                .filter_map(|nal| nal.first())
                .map(|header| header & 0x60)
                .max()
                .unwrap_or(0);
            [importance | STAP_A, 0, 0]
        }
        Cut::Fragment(header, position) => [header[0] & 0xe0 | FU_A, position | header[0] & 0x1f, 0],
    })
}

/// An H265 access unit; before a keyframe its parameter sets.
pub(super) fn h265(writer: &mut Writer, payload: &[u8], parameters: Option<&h265::Parameters>) -> Result<(), Error> {
    let sets = parameters.map_or([&[][..]; 3], |parameters| {
        [&parameters.vps, &parameters.sps, &parameters.pps]
    });
    packets(writer, payload, &sets, 2, |nals| match nals {
        Cut::Together(nals) => {
            // Layer and temporal id are the lowest of all (section 4.4.2).
            let ids = |nal: &&[u8]| Some(u16::from_be_bytes([*nal.first()?, *nal.get(1)?]) & 0x01ff);
            let [layer, rest] = nals.iter().filter_map(ids).min().unwrap_or(1).to_be_bytes();
            [layer | AGGREGATION << 1, rest, 0]
        }
        Cut::Fragment(header, position) => [
            header[0] & 0x81 | FRAGMENTATION << 1,
            header[1],
            position | header[0] >> 1 & 0x3f,
        ],
    })
}

/// What a payload header is wanted for.
enum Cut<'a> {
    Together(&'a [&'a [u8]]),
    /// The header of the NAL unit, and the start or end bit.
    Fragment([u8; 2], u8),
}

/// `header` is the size of a NAL unit header; `payload_header` gives that many bytes for an aggregation packet and one more
/// for a fragment.
fn packets(
    writer: &mut Writer,
    payload: &[u8],
    sets: &[&[u8]],
    header: usize,
    payload_header: impl Fn(Cut<'_>) -> [u8; 3],
) -> Result<(), Error> {
    nal::check(payload)?;
    let room = writer.room;
    let mut together: Vec<&[u8]> = Vec::new();
    let mut size = header;
    let flush = |writer: &mut Writer, together: &mut Vec<&[u8]>| match together.as_slice() {
        [] => Ok(()),
        [nal] => writer.packet(&[nal]),
        nals => {
            let head = payload_header(Cut::Together(nals));
            // Each is smaller than the packet, whose length fits u16.
            let sizes: Vec<[u8; SIZE]> = nals.iter().map(|nal| (nal.len() as u16).to_be_bytes()).collect();
            let entries = sizes.iter().zip(nals).flat_map(|(size, nal)| [&size[..], nal]);
            let parts: Vec<&[u8]> = std::iter::once(&head[..header]).chain(entries).collect();
            writer.packet(&parts)
        }
    };
    for nal in sets
        .iter()
        .copied()
        .filter(|set| !set.is_empty())
        .chain(nal::iter(payload))
    {
        if nal.len() < header {
            return Err(Error::Truncated);
        }
        if !together.is_empty() && size + SIZE + nal.len() > room {
            flush(writer, &mut together)?;
            together.clear();
            size = header;
        }
        if nal.len() <= room {
            together.push(nal);
            size += SIZE + nal.len();
            continue;
        }
        let own = [nal[0], *nal.get(1).unwrap_or(&0)];
        let mut rest = &nal[header..];
        let mut position = FU_START;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(room - header - 1));
            // A NAL unit that does not fit has more than one fragment, so none both starts and ends.
            position |= if after.is_empty() { FU_END } else { 0 };
            let head = payload_header(Cut::Fragment(own, position));
            writer.packet(&[&head[..header + 1], part])?;
            (rest, position) = (after, 0);
        }
    }
    flush(writer, &mut together)?;
    writer.mark_last();
    Ok(())
}
