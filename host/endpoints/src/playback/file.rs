//! One recorded file, walked part by part. Only the lists of samples are read, a part at a time.

use bytes::{Bytes, BytesMut};
use wasmtx_hub::PathName;
use wasmtx_media::{
    Error as MediaError,
    container::mp4::recorded::{self, Header, Sample},
    recording::Format,
};

use super::{
    Error,
    library::{Library, Reader},
    transport::Transport,
};
use crate::recording::Segment;

/// Read at once where a list of samples is expected: one of a second is as large.
const LOOK: u32 = 4 << 10;
/// Read at once where a header is expected; what recorders write is smaller.
const HEADER_LOOK: u32 = 8 << 10;
/// Bytes of a header.
const MAX_HEADER: u32 = 256 << 10;
/// Bytes of a list of samples.
const MAX_LIST: u64 = 512 << 10;
/// Boxes between two lists of samples.
const MAX_BOXES: usize = 16;

/// An open recording.
pub(super) struct File {
    source: Source,
    pub(super) header: Header,
    /// Where the bytes end that count.
    pub(super) end: u64,
}

/// What a recording is read from.
enum Source {
    Movie(Box<dyn Reader>),
    Transport(Box<Transport>),
}

impl Source {
    /// Up to `len` bytes; none at the end.
    fn read_at(&self, offset: u64, len: u32) -> Result<Bytes, Error> {
        match self {
            Source::Movie(reader) => Ok(reader.read_at(offset, len)?),
            Source::Transport(transport) => transport.read_at(offset, len),
        }
    }
}

/// One part of it: the boxes up to and with `mdat`.
pub(super) struct Part {
    /// Where it begins, and where the next one does.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its list, a whole box, and where that is.
    pub(super) moof: Bytes,
    pub(super) moof_at: u64,
}

impl File {
    /// Opens a file and reads its header. `end` bounds what counts of it.
    pub(super) fn open(library: &dyn Library, path: &PathName, segment: &Segment, end: u64) -> Result<File, Error> {
        let reader = library.open(path, segment)?;
        let (source, end) = match segment.format {
            Format::Fmp4 => (Source::Movie(reader), end),
            Format::MpegTs => {
                let transport = Transport::open(reader, end)?;
                let end = transport.len();
                (Source::Transport(Box::new(transport)), end)
            }
        };
        let mut look = HEADER_LOOK;
        loop {
            let bytes = source.read_at(0, look)?;
            match Header::read(&bytes) {
                Ok(header) => return Ok(File { source, header, end }),
                Err(MediaError::Truncated) if bytes.len() == length(look) && look < MAX_HEADER => {
                    look = look.saturating_mul(4).min(MAX_HEADER);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Up to `len` bytes.
    pub(super) fn read(&self, at: u64, len: u32) -> Result<Bytes, Error> {
        self.source.read_at(at, len)
    }

    /// Where a part begins that is decoded `time` nanoseconds after the beginning of the file, or before: the first one
    /// where looking for a later one is no quicker than walking there.
    pub(super) fn near(&self, time: i64) -> Result<u64, Error> {
        match &self.source {
            Source::Movie(_) => Ok(self.header.len),
            Source::Transport(transport) => transport.near(time),
        }
    }

    /// The part that begins at `start`; none when it is not there, or not whole.
    pub(super) fn part(&self, start: u64) -> Result<Option<Part>, Error> {
        let mut at = start;
        let mut list: Option<(u64, Bytes)> = None;
        for _ in 0..MAX_BOXES {
            let look = match &list {
                Some((from, moof)) => moof.slice(length_of(at - from).min(moof.len())..),
                None => self.source.read_at(at, LOOK)?,
            };
            // Behind the list the next head may not have been read with it.
            let look = if look.len() < 16 && list.is_some() {
                self.source.read_at(at, 16)?
            } else {
                look
            };
            let Some((kind, size)) = box_head(&look) else {
                return Ok(None);
            };
            let end = at.checked_add(size).filter(|end| *end <= self.end);
            let Some(end) = end else { return Ok(None) };
            match &kind {
                b"moof" if size > MAX_LIST => return Err(MediaError::TooLarge("part").into()),
                b"moof" => {
                    let wanted = u32::try_from(size + 16).unwrap_or(u32::MAX);
                    let bytes = if look.len() < length(wanted) {
                        self.read_whole(at, wanted)?
                    } else {
                        look
                    };
                    if bytes.len() < length_of(size) {
                        return Ok(None);
                    }
                    list = Some((at, bytes));
                }
                b"mdat" => {
                    return Ok(list.map(|(moof_at, mut bytes)| Part {
                        start,
                        end,
                        moof: bytes.split_to(box_head(&bytes).map_or(0, |(_, size)| length_of(size)).min(bytes.len())),
                        moof_at,
                    }));
                }
                _ => {}
            }
            at = end;
        }
        Err(MediaError::Invalid("recording").into())
    }

    /// As many bytes as are there, of those asked for.
    fn read_whole(&self, at: u64, len: u32) -> Result<Bytes, Error> {
        let first = self.source.read_at(at, len)?;
        if first.len() >= length(len) {
            return Ok(first);
        }
        let mut all = BytesMut::from(&first[..]);
        while let Ok(missing @ 1..) = u32::try_from(length(len) - all.len()) {
            let more = self.source.read_at(at + all.len() as u64, missing)?;
            if more.is_empty() {
                break;
            }
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// Shows the samples of a part.
    pub(super) fn samples(&self, part: &Part, mut each: impl FnMut(&Sample)) -> Result<(), Error> {
        let mut outside = false;
        recorded::samples(&part.moof, part.moof_at, &self.header.tracks, |sample| {
            outside |= !part.holds(sample);
            each(sample);
        })?;
        if outside {
            Err(MediaError::Invalid("place of a sample").into())
        } else {
            Ok(())
        }
    }
}

impl Part {
    /// Whether a sample lies in this part: nothing else of the file is to be sent in its name.
    pub(super) fn holds(&self, sample: &Sample) -> bool {
        let end = sample.offset.checked_add(sample.size.into());
        sample.offset >= self.start && end.is_some_and(|end| end <= self.end)
    }
}

/// Kind and whole size of the box that begins here.
pub(super) fn box_head(bytes: &[u8]) -> Option<([u8; 4], u64)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let size = match u32::from_be_bytes(*size) {
        1 => u64::from_be_bytes(*rest.first_chunk::<8>()?),
        size => size.into(),
    };
    // A box that reaches to the end of the file is none of a recording that is made of parts.
    (size >= 8).then_some((*kind, size))
}

fn length(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

fn length_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
