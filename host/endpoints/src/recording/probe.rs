//! What a file says about itself: how long it is, and what it joins.
//!
//! Nothing is taken apart. Of an MP4 the header is read, and, when it does not tell a duration, the size of every part
//! and the list of the last one: two short reads for each part.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use wasmtx_media::{
    Error as MediaError,
    container::{
        mp4::{
            self,
            recorded::{self, Header},
        },
        mpegts,
    },
    recording::Format,
};

use super::segment::{Join, Segment};
use crate::storage::{self, Directory, READ_BYTES, Reader};

/// Read at first; a header is rarely longer.
const FIRST: u32 = 16 << 10;
/// Bytes of a header, or of the list of a part.
const MAX_BOX: u64 = 1 << 20;
/// Boxes of a file that are stepped over.
const MAX_BOXES: usize = 1 << 20;
/// Size and kind.
const BOX_HEAD: u32 = 8;
const MICROS: i128 = 1_000_000;
/// Bytes behind the last whole part that can be a torn one: no recorder holds back more.
const MAX_TAIL: u64 = 64 << 20;
/// How a part begins, behind its size.
const PART_HEAD: &[u8] = b"moof\0\0\0\x10mfhd";
/// Of a transport stream, per second.
const TICKS: i128 = 90_000;

/// What a file says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Microseconds.
    pub(super) duration: u64,
    pub(super) join: Option<Join>,
    /// See [`super::Segment::tracks`].
    pub(super) tracks: u64,
}

/// Why a file did not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// Looks into a file. `duration` is its, if somebody knows it.
pub(super) fn facts(reader: &Reader, format: Format, duration: Option<u64>) -> Result<Facts, Error> {
    match format {
        Format::Fmp4 => fmp4(reader, duration),
        Format::MpegTs => mpegts(reader, duration),
    }
}

/// Looks into many files, so many at once. What is no recording has no facts, and is not looked into again; what could
/// not be read is left out.
pub(super) fn all<'a>(directory: &Directory, segments: &[&'a Segment], at_once: usize) -> Vec<(&'a Segment, Facts)> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(segments.len()));
    thread::scope(|scope| {
        for _ in 0..at_once.min(segments.len()) {
            scope.spawn(|| {
                while let Some(segment) = segments.get(next.fetch_add(1, Relaxed)) {
                    let reader = directory.open(&segment.file).map_err(Error::from);
                    match reader.and_then(|reader| facts(&reader, segment.format, None)) {
                        Ok(facts) => found.lock().push((*segment, facts)),
                        Err(Error::Media(_)) => found.lock().push((*segment, Facts::default())),
                        Err(Error::Storage(_)) => {}
                    }
                }
            });
        }
    });
    found.into_inner()
}

/// What can be done about the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// So many bytes are whole: what follows is less than a part.
    Whole(u64),
    /// There is no part in it.
    Nothing,
    /// Something is wrong with it that is no torn end.
    Strange,
}

/// Looks at the end of a file of `size` bytes.
pub(super) fn end(reader: &Reader, format: Format, size: u64) -> Result<End, storage::Error> {
    let read = |offset, length| read_full(reader, offset, u32::try_from(length).unwrap_or(u32::MAX));
    let (length, parts) = match format {
        Format::Fmp4 => mp4::whole(size, read).map(|whole| (whole.len, whole.parts))?,
        Format::MpegTs => mpegts::whole(size, read).map(|length| (length, 1))?,
    };
    match length {
        0 => Ok(End::Nothing),
        length if length >= size => Ok(End::Whole(size)),
        length if size - length > MAX_TAIL => Ok(End::Strange),
        length if format == Format::Fmp4 && is_damaged(reader, length, size)? => Ok(End::Strange),
        _ if parts == 0 => Ok(End::Nothing),
        length => Ok(End::Whole(length)),
    }
}

/// Whether another part begins behind the one that is not whole.
fn is_damaged(reader: &Reader, from: u64, size: u64) -> Result<bool, storage::Error> {
    let mut at = from.saturating_add(PART_HEAD.len() as u64);
    while at < size {
        let bytes = reader.read_at(at, READ_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.windows(PART_HEAD.len()).any(|window| window == PART_HEAD) {
            return Ok(true);
        }
        let step = bytes.len().saturating_sub(PART_HEAD.len() - 1).max(1);
        at = at.saturating_add(step as u64);
    }
    Ok(false)
}

/// Nothing in a transport stream says what it joins.
fn mpegts(reader: &Reader, duration: Option<u64>) -> Result<Facts, Error> {
    let duration = match duration {
        Some(duration) => duration,
        None => {
            let read = |offset, length| read_full(reader, offset, u32::try_from(length).unwrap_or(u32::MAX));
            let span = mpegts::span(reader.len()?, read)?;
            let ticks = span.map_or(0, |span| span.end.saturating_sub(span.start));
            let micros = i128::from(ticks) * MICROS / TICKS;
            u64::try_from(micros).unwrap_or(0)
        }
    };
    Ok(Facts {
        duration,
        ..Facts::default()
    })
}

fn fmp4(reader: &Reader, duration: Option<u64>) -> Result<Facts, Error> {
    let header = header(reader)?;
    let noted = header.duration.map(|nanoseconds| nanoseconds / 1_000);
    let duration = match duration.or(noted) {
        Some(duration) => duration,
        None => last_part(reader, &header)?,
    };
    let join = header.segment.map(|segment| Join {
        stream: segment.stream,
        number: segment.number,
        dts: segment.dts,
    });
    Ok(Facts {
        duration,
        join,
        tracks: header.fingerprint(),
    })
}

fn header(reader: &Reader) -> Result<Header, Error> {
    let mut length = FIRST;
    loop {
        let bytes = read_full(reader, 0, length)?;
        match Header::read(&bytes) {
            Err(MediaError::Truncated) if u64::from(length) < MAX_BOX && bytes.len() >= length as usize => {
                length = length.saturating_mul(4);
            }
            header => return Ok(header?),
        }
    }
}

/// Where the last whole part ends: microseconds since the beginning of the file.
fn last_part(reader: &Reader, header: &Header) -> Result<u64, Error> {
    let size = reader.len()?;
    let (mut at, mut last) = (header.len, None);
    for _ in 0..MAX_BOXES {
        let Some((length, kind)) = next_box(reader, at)? else {
            break;
        };
        let Some(end) = at.checked_add(length).filter(|end| *end <= size) else {
            break;
        };
        match &kind {
            b"moof" => {
                // Its samples have to be there, too.
                let Some((samples, b"mdat")) = next_box(reader, end)?.as_ref().map(|(size, kind)| (*size, kind)) else {
                    break;
                };
                if end.checked_add(samples).is_none_or(|end| end > size) {
                    break;
                }
                last = Some((at, length));
            }
            b"mdat" | b"styp" | b"sidx" | b"free" | b"skip" => {}
            _ => break,
        }
        at = end;
    }
    let Some((at, length)) = last.filter(|(_, length)| *length <= MAX_BOX) else {
        return Ok(0);
    };
    let moof = read_full(reader, at, u32::try_from(length).unwrap_or(u32::MAX))?;
    let mut end = 0;
    recorded::samples(&moof, at, &header.tracks, |sample| {
        let rate = header.tracks.get(sample.track).map_or(0, |track| track.clock_rate);
        let ticks = i128::from(sample.dts).saturating_add(sample.duration.into());
        let micros = ticks.saturating_mul(MICROS).checked_div(rate.into()).unwrap_or(0);
        end = end.max(u64::try_from(micros).unwrap_or(0));
    })?;
    Ok(end)
}

/// The length and the kind of the box that begins here.
fn next_box(reader: &Reader, at: u64) -> Result<Option<(u64, [u8; 4])>, Error> {
    let mut head = reader.read_at(at, BOX_HEAD + 8)?;
    if head.len() < BOX_HEAD as usize {
        return Ok(None);
    }
    let (short, mut kind) = (head.get_u32(), [0; 4]);
    head.copy_to_slice(&mut kind);
    let length = match short {
        1 => head.try_get_u64().unwrap_or(0),
        short => short.into(),
    };
    Ok(Some((length, kind)).filter(|(length, _)| *length >= u64::from(BOX_HEAD)))
}

/// As many bytes as asked for; fewer only where the file ends.
fn read_full(reader: &Reader, offset: u64, length: u32) -> Result<Bytes, storage::Error> {
    let first = reader.read_at(offset, length.min(READ_BYTES))?;
    if first.len() == length as usize || first.is_empty() {
        return Ok(first);
    }
    let mut bytes = BytesMut::from(&first[..]);
    while bytes.len() < length as usize {
        let left = length.saturating_sub(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let more = reader.read_at(offset.saturating_add(bytes.len() as u64), left.min(READ_BYTES))?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes.freeze())
}
