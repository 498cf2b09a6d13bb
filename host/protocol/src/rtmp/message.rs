//! Messages: what chunks are put together to (RTMP 1.0 sections 5.4, 6.1 and 7.1).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Error;

/// What a message is about: its type id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Set Chunk Size (1).
    ChunkSize,
    /// Abort Message (2).
    Abort,
    /// Acknowledgement (3).
    Acknowledgement,
    /// User Control (4).
    UserControl,
    /// Window Acknowledgement Size (5).
    WindowSize,
    /// Set Peer Bandwidth (6).
    PeerBandwidth,
    /// Audio (8); the payload is the body of an FLV tag.
    Audio,
    /// Video (9); the payload is the body of an FLV tag.
    Video,
    /// Data in a message of AMF3 (15).
    Data3,
    /// A command in a message of AMF3 (17).
    Command3,
    /// Data in AMF0 (18); the payload is the body of an FLV tag.
    Data,
    /// A command in AMF0 (20).
    Command,
    /// Aggregate (22): several messages in one.
    Aggregate,
    /// Anything else: shared objects, and what nobody heard of.
    Other(u8),
}

impl Kind {
    /// The kind of this type id.
    pub fn from_id(id: u8) -> Kind {
        match id {
            1 => Kind::ChunkSize,
            2 => Kind::Abort,
            3 => Kind::Acknowledgement,
            4 => Kind::UserControl,
            5 => Kind::WindowSize,
            6 => Kind::PeerBandwidth,
            8 => Kind::Audio,
            9 => Kind::Video,
            15 => Kind::Data3,
            17 => Kind::Command3,
            18 => Kind::Data,
            20 => Kind::Command,
            22 => Kind::Aggregate,
            id => Kind::Other(id),
        }
    }

    /// Its type id.
    pub fn id(self) -> u8 {
        match self {
            Kind::ChunkSize => 1,
            Kind::Abort => 2,
            Kind::Acknowledgement => 3,
            Kind::UserControl => 4,
            Kind::WindowSize => 5,
            Kind::PeerBandwidth => 6,
            Kind::Audio => 8,
            Kind::Video => 9,
            Kind::Data3 => 15,
            Kind::Command3 => 17,
            Kind::Data => 18,
            Kind::Command => 20,
            Kind::Aggregate => 22,
            Kind::Other(id) => id,
        }
    }
}

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// Milliseconds since a moment of the sender's choice. Wraps at 2^32; senders that count in 24 bits wrap earlier.
    pub timestamp: u32,
    /// The message stream: 0 for the connection itself, else what `createStream` gave.
    pub stream: u32,
    /// What it says.
    pub payload: Bytes,
}

/// What a user control message says (section 7.1.7), as far as live streams use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The stream can be used for communication now.
    StreamBegin(u32),
    /// The stream has no more to play.
    StreamEnd(u32),
    /// The client's buffer for a stream, in milliseconds.
    BufferLength {
        /// The stream.
        stream: u32,
        /// Milliseconds.
        length: u32,
    },
    /// Wants the same number back.
    PingRequest(u32),
    /// The number that was asked for.
    PingResponse(u32),
    /// Anything else.
    Other(u16),
}

impl UserControl {
    /// Reads a payload.
    pub fn read(mut payload: &[u8]) -> Result<UserControl, Error> {
        let event = payload.try_get_u16().map_err(|_| Error::Control)?;
        let mut number = || payload.try_get_u32().map_err(|_| Error::Control);
        Ok(match event {
            0 => UserControl::StreamBegin(number()?),
            1 => UserControl::StreamEnd(number()?),
            3 => UserControl::BufferLength {
                stream: number()?,
                length: number()?,
            },
            6 => UserControl::PingRequest(number()?),
            7 => UserControl::PingResponse(number()?),
            other => UserControl::Other(other),
        })
    }

    /// The payload that says this.
    pub fn to_bytes(self) -> Bytes {
        let mut payload = BytesMut::new();
        match self {
            UserControl::StreamBegin(stream) => put(&mut payload, 0, &[stream]),
            UserControl::StreamEnd(stream) => put(&mut payload, 1, &[stream]),
            UserControl::BufferLength { stream, length } => put(&mut payload, 3, &[stream, length]),
            UserControl::PingRequest(number) => put(&mut payload, 6, &[number]),
            UserControl::PingResponse(number) => put(&mut payload, 7, &[number]),
            UserControl::Other(event) => put(&mut payload, event, &[]),
        }
        payload.freeze()
    }
}

fn put(payload: &mut BytesMut, event: u16, numbers: &[u32]) {
    payload.put_u16(event);
    for number in numbers {
        payload.put_u32(*number);
    }
}

/// The number that Set Chunk Size, Abort, Acknowledgement, Window Acknowledgement Size and Set Peer Bandwidth begin
/// with.
pub fn control_number(mut payload: &[u8]) -> Result<u32, Error> {
    payload.try_get_u32().map_err(|_| Error::Control)
}

/// The messages inside an aggregate message, in order. It gives an error once and then nothing more.
///
/// ```text
/// | type 8 | length 24 | timestamp 24 | its upper 8 bits | stream 24 | payload | length of all this 32 | next …
/// ```
///
/// The first part has the aggregate's own time, the others keep their distance to it. The lengths behind the parts are
/// for players that go backwards; encoders write wrong ones, so they are not compared.
#[derive(Clone, Debug)]
pub struct Aggregate {
    timestamp: u32,
    stream: u32,
    rest: Bytes,
    /// What is added to the times of the parts.
    offset: Option<u32>,
}

const PART_HEADER: usize = 11;
const BACK_POINTER: usize = 4;

impl Aggregate {
    /// The parts of a message of [`Kind::Aggregate`].
    pub fn new(message: Message) -> Aggregate {
        Aggregate {
            timestamp: message.timestamp,
            stream: message.stream,
            rest: message.payload,
            offset: None,
        }
    }

    fn take(&mut self) -> Result<Message, Error> {
        if self.rest.len() < PART_HEADER {
            return Err(Error::Aggregate);
        }
        let kind = Kind::from_id(self.rest.get_u8());
        let length = usize::try_from(self.rest.get_uint(3)).map_err(|_| Error::Aggregate)?;
        let lower = u32::try_from(self.rest.get_uint(3)).map_err(|_| Error::Aggregate)?;
        let timestamp = lower | u32::from(self.rest.get_u8()) << 24;
        self.rest.advance(3);
        // An aggregate inside an aggregate would be the one recursion here.
        if length > self.rest.len() || kind == Kind::Aggregate {
            return Err(Error::Aggregate);
        }
        let payload = self.rest.split_to(length);
        self.rest.advance(self.rest.len().min(BACK_POINTER));
        let offset = *self
            .offset
            .get_or_insert_with(|| self.timestamp.wrapping_sub(timestamp));
        Ok(Message {
            kind,
            timestamp: timestamp.wrapping_add(offset),
            stream: self.stream,
            payload,
        })
    }
}

impl Iterator for Aggregate {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Result<Message, Error>> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.take();
        if message.is_err() {
            self.rest.clear();
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Part = (Kind, u32, Vec<u8>);

    fn aggregate(timestamp: u32, payload: &[u8]) -> Vec<Result<Part, Error>> {
        let message = Message {
            kind: Kind::Aggregate,
            timestamp,
            stream: 1,
            payload: Bytes::copy_from_slice(payload),
        };
        let parts = Aggregate::new(message);
        let part = |message: Message| (message.kind, message.timestamp, message.payload.to_vec());
        parts.map(|message| message.map(part)).collect()
    }

    #[test]
    fn every_type_id_has_one_kind() {
        for id in 0..=u8::MAX {
            assert_eq!(Kind::from_id(id).id(), id);
        }
    }

    #[test]
    fn user_control_is_read_as_it_was_written() {
        for control in [
            UserControl::StreamBegin(1),
            UserControl::StreamEnd(u32::MAX),
            UserControl::BufferLength {
                stream: 1,
                length: 3000,
            },
            UserControl::PingRequest(7),
            UserControl::PingResponse(0),
            UserControl::Other(31),
        ] {
            assert_eq!(UserControl::read(&control.to_bytes()), Ok(control));
        }
        assert_eq!(UserControl::read(&[0]), Err(Error::Control));
        assert_eq!(UserControl::read(&[0, 6, 1, 2, 3]), Err(Error::Control));
    }

    #[test]
    fn an_aggregate_is_split_and_its_parts_keep_their_distance() {
        let parts = [
            &b"\x08\0\0\x02\0\0\x0a\0\0\0\0ab\0\0\0\x0d"[..],
            b"\x09\0\0\x01\0\0\x1e\0\0\0\0c\0\0\0\x0c",
        ]
        .concat();
        assert_eq!(
            aggregate(1000, &parts),
            [
                Ok((Kind::Audio, 1000, b"ab".to_vec())),
                Ok((Kind::Video, 1020, b"c".to_vec()))
            ]
        );
    }

    #[test]
    fn a_part_that_is_longer_than_its_aggregate_ends_it() {
        assert_eq!(aggregate(0, b"\x08\0\0\x03\0\0\0\0\0\0\0ab"), [Err(Error::Aggregate)]);
        assert_eq!(aggregate(0, b"\x08\0\0"), [Err(Error::Aggregate)]);
        assert_eq!(
            aggregate(0, b"\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            [Err(Error::Aggregate)]
        );
        assert_eq!(aggregate(0, b""), []);
    }
}
