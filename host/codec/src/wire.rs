//! The words between the server and a worker process: messages over the worker's standard input and output.
//!
//! ```text
//! message   length u32 | kind u8 | fields
//! bytes     length u32 | bytes
//! ```
//!
//! Numbers are little-endian, `length` counts what follows it. Each side begins with a hello that names the version, then the
//! server asks and the worker answers: every packet that it is given is accounted for by exactly one [`Answer::Converted`],
//! whatever became of it, so the server knows how much is under way, and every picture by one [`Answer::Picture`] or
//! [`Answer::Failed`]. The worker is not believed: it reads what strangers
//! send, and FFmpeg is a large place. No length is taken beyond its bound, and no memory is reserved for one.
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
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, TryGetError};

pub use self::{
    answer::{Answer, Packet, Problem},
    request::{Decode, Encode, Request, Source, Target, Video},
};

/// Both sides must say the same.
pub const VERSION: u16 = 2;
/// Bytes of a message behind its length: the largest picture, with room for the fields around it.
pub const MESSAGE_LEN: usize = PICTURE_LEN + (64 << 10);
/// Bytes of a coded picture, of any codec.
pub const PICTURE_LEN: usize = 8 << 20;
/// Bytes of a video codec's configuration record: parameter sets of a kilobyte are rare.
pub const SETS_LEN: usize = 16 << 10;
/// Bytes of a packet that is to be converted: the largest FLAC frames of a live stream are a tenth of this.
pub const PACKET_LEN: usize = 256 << 10;
/// Bytes of a codec's configuration record.
pub const PARAMETERS_LEN: usize = 1 << 10;
/// Bytes of the words of an error.
pub const WORDS_LEN: usize = 512;
/// Packets in one answer: what the longest silence that is filled becomes, with room.
pub const PACKETS: usize = 512;
/// Packets of one converter that may be under way. The server holds back what is beyond.
pub const WINDOW: u32 = 128;

/// A message that no honest peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field is missing or cut.
    #[error("message cut short")]
    Truncated,
    /// A length beyond its bound.
    #[error("{0} too long")]
    TooLong(&'static str),
    /// A number that has no meaning.
    #[error("unknown {0}")]
    Unknown(&'static str),
    /// Bytes behind the last field.
    #[error("bytes behind the message")]
    Rest,
}

impl From<TryGetError> for Error {
    fn from(_: TryGetError) -> Error {
        Error::Truncated
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Reads the body of the next message; `None` when the other side has hung up between two.
///
/// # Errors
/// What the pipe says, or a length beyond [`MESSAGE_LEN`].
pub fn read_message(mut from: impl Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    let mut got = 0;
    while let Some(rest) = length.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => got = got.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length);
    if length as usize > MESSAGE_LEN {
        return Err(Error::TooLong("message").into());
    }
    let mut body = Vec::new();
    if from.take(length.into()).read_to_end(&mut body)? < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(body.into()))
}
/// Puts a length in front of what `fields` writes.
fn message(to: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
    let start = to.len();
    to.put_u32_le(0);
    let body = to.len();
    let written = fields(to).and_then(|()| length(to.len().saturating_sub(body), MESSAGE_LEN, "message"));
    match (&written, to.get_mut(start..body)) {
        (Ok(length), Some(place)) => place.copy_from_slice(&length.to_le_bytes()),
        _ => to.truncate(start),
    }
    written.map(|_| ())
}

fn length(len: usize, most: usize, what: &'static str) -> Result<u32, Error> {
    match u32::try_from(len) {
        Ok(length) if len <= most => Ok(length),
        _ => Err(Error::TooLong(what)),
    }
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8], most: usize, what: &'static str) -> Result<(), Error> {
    to.put_u32_le(length(bytes.len(), most, what)?);
    to.put_slice(bytes);
    Ok(())
}

fn get_bytes(from: &mut Bytes, most: usize, what: &'static str) -> Result<Bytes, Error> {
    let length = from.try_get_u32_le()? as usize;
    if length > most {
        return Err(Error::TooLong(what));
    }
    if length > from.len() {
        return Err(Error::Truncated);
    }
    Ok(from.split_to(length))
}
fn whole<T>(rest: &Bytes, message: T) -> Result<T, Error> {
    if rest.is_empty() { Ok(message) } else { Err(Error::Rest) }
}
