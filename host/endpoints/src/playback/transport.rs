//! A recorded transport stream, read as the fragmented MP4 that it looks like. The part that was read last is kept: a part
//! is read in pieces.

use std::cell::RefCell;

use bytes::Bytes;
use wasmtx_media::container::mpegts::View;

use super::{Error, library::Reader};

/// An open transport stream.
pub(super) struct Transport {
    stream: Box<dyn Reader>,
    view: View,
    part: RefCell<Option<(u64, Bytes)>>,
}

impl Transport {
    /// Looks at the beginning of a stream of `size` bytes.
    pub(super) fn open(stream: Box<dyn Reader>, size: u64) -> Result<Transport, Error> {
        let view = View::open(size, |offset, len| read(&*stream, offset, len))?;
        Ok(Transport {
            stream,
            view,
            part: RefCell::default(),
        })
    }

    /// Bytes of the MP4.
    pub(super) fn len(&self) -> u64 {
        self.view.len()
    }

    /// Some of the up to `len` bytes of the MP4 from `offset` on; none at its end.
    pub(super) fn read_at(&self, offset: u64, len: u32) -> Result<Bytes, Error> {
        let header = self.view.header();
        if let Some(bytes) = from(&header, 0, offset, len) {
            return Ok(bytes);
        }
        let mut part = self.part.borrow_mut();
        if let Some(bytes) = part.as_ref().and_then(|(start, part)| from(part, *start, offset, len)) {
            return Ok(bytes);
        }
        *part = self.view.part(offset, |offset, len| read(&*self.stream, offset, len))?;
        let found = part.as_ref().and_then(|(start, part)| from(part, *start, offset, len));
        Ok(found.unwrap_or_default())
    }

    /// Where a part begins that is decoded `time` nanoseconds after the beginning, or before.
    pub(super) fn near(&self, time: i64) -> Result<u64, Error> {
        self.view.near(time, |offset, len| read(&*self.stream, offset, len))
    }
}

fn read(stream: &dyn Reader, offset: u64, len: usize) -> Result<Bytes, Error> {
    Ok(stream.read_at(offset, u32::try_from(len).unwrap_or(u32::MAX))?)
}

/// Up to `len` bytes from `offset` on of those that begin at `start`; `None` when it is not among them.
fn from(bytes: &Bytes, start: u64, offset: u64, len: u32) -> Option<Bytes> {
    let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
    let left = bytes.len().checked_sub(skip).filter(|left| *left > 0)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(left);
    Some(bytes.slice(skip..skip + len))
}
