//! The words between the server and a worker process: messages over the worker's standard input and output.
//!
//! ```text
//! message   length u32 | kind u8 | fields
//! bytes     length u32 | bytes
//! ```
//!
//! Numbers are little-endian, `length` counts what follows it. Each side begins with a hello that names the version, then the
//! server asks and the worker answers: every packet that it is given is accounted for by exactly one [`Answer::Converted`],
//! whatever became of it, so the server knows how much is under way. The worker is not believed: it reads what strangers
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

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, TryGetError};

/// Both sides must say the same.
pub const VERSION: u16 = 1;
/// Bytes of a message behind its length.
pub const MESSAGE_LEN: usize = 1 << 20;
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

/// What is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Decode {
    /// RFC 6716, one packet each; more than two channels need the OpusHead of RFC 7845 as parameters.
    Opus = 1,
    /// G.711 µ-law.
    MuLaw = 2,
    /// G.711 A-law.
    ALaw = 3,
    /// Linear PCM, 8 bits in offset binary.
    Pcm8 = 4,
    /// Linear PCM, 16 bits, signed, big-endian.
    Pcm16 = 5,
    /// Linear PCM, 24 bits, signed, big-endian.
    Pcm24 = 6,
    /// MPEG audio, one frame each.
    Mp3 = 7,
    /// ATSC A/52, one syncframe each.
    Ac3 = 8,
    /// FLAC, one frame each; the parameters are STREAMINFO.
    Flac = 9,
    /// MPEG-4 Audio, one raw access unit each; the parameters are an AudioSpecificConfig.
    Aac = 10,
}

/// What is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encode {
    /// AAC-LC, 1024 samples in a frame.
    Aac = 1,
    /// Opus, 20 ms in a packet.
    Opus = 2,
}

/// The stream that a converter is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The codec.
    pub codec: Decode,
    /// Hz, as the stream says; a decoder may know better.
    pub sample_rate: u32,
    /// As the stream says; a decoder may know better.
    pub channels: u8,
    /// Ticks per second of the packets' timestamps; not 0.
    pub clock_rate: u32,
    /// The codec's configuration, up to [`PARAMETERS_LEN`] bytes; empty where it has none.
    pub parameters: Bytes,
}

/// The stream that a converter makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The codec.
    pub codec: Encode,
    /// Hz, and ticks per second of the timestamps that come out; not 0.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// Bits per second; 0 is left to the worker.
    pub bitrate: u32,
}

/// What the server says. `id` names a converter; the server chooses it and does not use it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// First of all.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// Bytes that the worker may have written to at once, its code apart.
        memory: u64,
        /// Threads that convert, at least 1.
        threads: u8,
    },
    /// A converter is wanted.
    Open {
        /// Its name from here on.
        id: u32,
        /// What it is given.
        source: Source,
        /// What it makes.
        target: Target,
    },
    /// The next packet of a converter.
    Packet {
        /// The converter.
        id: u32,
        /// Ticks of the source's clock.
        pts: i64,
        /// The packet, up to [`PACKET_LEN`] bytes.
        payload: Bytes,
    },
    /// Nothing more comes: what is still inside is wanted. Answered by [`Answer::Flushed`].
    Flush {
        /// The converter.
        id: u32,
    },
    /// The converter is not needed any more. Not answered.
    Close {
        /// The converter.
        id: u32,
    },
}

/// Why something did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
#[non_exhaustive]
pub enum Problem {
    /// FFmpeg here has no decoder for the source, or it refuses the parameters.
    #[error("the source cannot be decoded")]
    Source = 1,
    /// FFmpeg here has no encoder for the target, or it refuses the form.
    #[error("the target cannot be encoded")]
    Target = 2,
    /// A packet is not what the source's codec says.
    #[error("broken packet")]
    Packet = 3,
    /// The encoder or the resampler refuses sound.
    #[error("the converter does not go on")]
    Inside = 4,
    /// The worker has as many converters as it has memory for.
    #[error("too many converters")]
    TooMany = 5,
}

/// One packet that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Ticks of the target's sample rate.
    pub pts: i64,
    /// Samples in it.
    pub duration: u32,
    /// Its time does not follow from the packet before it.
    pub discontinuity: bool,
    /// The coded bytes.
    pub payload: Bytes,
}

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// First of all.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// The converter is there.
    Opened {
        /// Its name.
        id: u32,
        /// The AudioSpecificConfig, or the OpusHead of RFC 7845 section 5.1.
        parameters: Bytes,
    },
    /// The converter is gone, or never was.
    Failed {
        /// Its name.
        id: u32,
        /// What kind of failure.
        problem: Problem,
        /// FFmpeg's words.
        words: String,
    },
    /// One packet was taken in.
    Converted {
        /// The converter.
        id: u32,
        /// What was wrong with it, if something was.
        problem: Option<Problem>,
        /// What came out by it, in order; up to [`PACKETS`].
        packets: Vec<Packet>,
    },
    /// All that was inside is out.
    Flushed {
        /// The converter.
        id: u32,
        /// The rest, in order; up to [`PACKETS`].
        packets: Vec<Packet>,
    },
}

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

impl Request {
    /// Appends the message to `to`.
    ///
    /// # Errors
    /// A field beyond its bound; nothing is appended then.
    pub fn write(&self, to: &mut Vec<u8>) -> Result<(), Error> {
        message(to, |to| {
            match self {
                Request::Hello {
                    version,
                    memory,
                    threads,
                } => {
                    to.put_u8(1);
                    to.put_u16_le(*version);
                    to.put_u64_le(*memory);
                    to.put_u8(*threads);
                }
                Request::Open { id, source, target } => {
                    to.put_u8(2);
                    to.put_u32_le(*id);
                    to.put_u8(source.codec as u8);
                    to.put_u32_le(source.sample_rate);
                    to.put_u8(source.channels);
                    to.put_u32_le(source.clock_rate);
                    put_bytes(to, &source.parameters, PARAMETERS_LEN, "parameters")?;
                    to.put_u8(target.codec as u8);
                    to.put_u32_le(target.sample_rate);
                    to.put_u8(target.channels);
                    to.put_u32_le(target.bitrate);
                }
                Request::Packet { id, pts, payload } => {
                    to.put_u8(3);
                    to.put_u32_le(*id);
                    to.put_i64_le(*pts);
                    put_bytes(to, payload, PACKET_LEN, "packet")?;
                }
                Request::Flush { id } => {
                    to.put_u8(4);
                    to.put_u32_le(*id);
                }
                Request::Close { id } => {
                    to.put_u8(5);
                    to.put_u32_le(*id);
                }
            }
            Ok(())
        })
    }

    /// Parses the body of a message.
    ///
    /// # Errors
    /// What no server of this version says.
    pub fn parse(mut body: Bytes) -> Result<Request, Error> {
        let from = &mut body;
        let request = match from.try_get_u8()? {
            1 => Request::Hello {
                version: from.try_get_u16_le()?,
                memory: from.try_get_u64_le()?,
                threads: from.try_get_u8()?,
            },
            2 => Request::Open {
                id: from.try_get_u32_le()?,
                source: Source {
                    codec: Decode::parse(from.try_get_u8()?)?,
                    sample_rate: from.try_get_u32_le()?,
                    channels: from.try_get_u8()?,
                    clock_rate: rate(from)?,
                    parameters: get_bytes(from, PARAMETERS_LEN, "parameters")?,
                },
                target: Target {
                    codec: Encode::parse(from.try_get_u8()?)?,
                    sample_rate: rate(from)?,
                    channels: from.try_get_u8()?,
                    bitrate: from.try_get_u32_le()?,
                },
            },
            3 => Request::Packet {
                id: from.try_get_u32_le()?,
                pts: from.try_get_i64_le()?,
                payload: get_bytes(from, PACKET_LEN, "packet")?,
            },
            4 => Request::Flush {
                id: from.try_get_u32_le()?,
            },
            5 => Request::Close {
                id: from.try_get_u32_le()?,
            },
            _ => return Err(Error::Unknown("request")),
        };
        whole(from, request)
    }
}

impl Answer {
    /// Appends the message to `to`.
    ///
    /// # Errors
    /// A field beyond its bound; nothing is appended then.
    pub fn write(&self, to: &mut Vec<u8>) -> Result<(), Error> {
        message(to, |to| {
            match self {
                Answer::Hello { version } => {
                    to.put_u8(1);
                    to.put_u16_le(*version);
                }
                Answer::Opened { id, parameters } => {
                    to.put_u8(2);
                    to.put_u32_le(*id);
                    put_bytes(to, parameters, PARAMETERS_LEN, "parameters")?;
                }
                Answer::Failed { id, problem, words } => {
                    to.put_u8(3);
                    to.put_u32_le(*id);
                    to.put_u8(*problem as u8);
                    let words = words.get(..words.floor_char_boundary(WORDS_LEN)).unwrap_or_default();
                    put_bytes(to, words.as_bytes(), WORDS_LEN, "words")?;
                }
                Answer::Converted { id, problem, packets } => {
                    to.put_u8(4);
                    to.put_u32_le(*id);
                    to.put_u8(problem.map_or(0, |problem| problem as u8));
                    put_packets(to, packets)?;
                }
                Answer::Flushed { id, packets } => {
                    to.put_u8(5);
                    to.put_u32_le(*id);
                    put_packets(to, packets)?;
                }
            }
            Ok(())
        })
    }

    /// Parses the body of a message.
    ///
    /// # Errors
    /// What no worker of this version says.
    pub fn parse(mut body: Bytes) -> Result<Answer, Error> {
        let from = &mut body;
        let answer = match from.try_get_u8()? {
            1 => Answer::Hello {
                version: from.try_get_u16_le()?,
            },
            2 => Answer::Opened {
                id: from.try_get_u32_le()?,
                parameters: get_bytes(from, PARAMETERS_LEN, "parameters")?,
            },
            3 => Answer::Failed {
                id: from.try_get_u32_le()?,
                problem: Problem::parse(from.try_get_u8()?)?,
                words: String::from_utf8_lossy(&get_bytes(from, WORDS_LEN, "words")?).into_owned(),
            },
            4 => Answer::Converted {
                id: from.try_get_u32_le()?,
                problem: match from.try_get_u8()? {
                    0 => None,
                    number => Some(Problem::parse(number)?),
                },
                packets: get_packets(from)?,
            },
            5 => Answer::Flushed {
                id: from.try_get_u32_le()?,
                packets: get_packets(from)?,
            },
            _ => return Err(Error::Unknown("answer")),
        };
        whole(from, answer)
    }
}

impl Decode {
    fn parse(number: u8) -> Result<Decode, Error> {
        use Decode::*;
        [Opus, MuLaw, ALaw, Pcm8, Pcm16, Pcm24, Mp3, Ac3, Flac, Aac]
            .into_iter()
            .find(|codec| *codec as u8 == number)
            .ok_or(Error::Unknown("source"))
    }
}

impl Encode {
    fn parse(number: u8) -> Result<Encode, Error> {
        [Encode::Aac, Encode::Opus]
            .into_iter()
            .find(|codec| *codec as u8 == number)
            .ok_or(Error::Unknown("target"))
    }
}

impl Problem {
    fn parse(number: u8) -> Result<Problem, Error> {
        use Problem::*;
        [Source, Target, Packet, Inside, TooMany]
            .into_iter()
            .find(|problem| *problem as u8 == number)
            .ok_or(Error::Unknown("problem"))
    }
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

fn put_packets(to: &mut Vec<u8>, packets: &[Packet]) -> Result<(), Error> {
    to.put_u32_le(length(packets.len(), PACKETS, "list of packets")?);
    for packet in packets {
        to.put_i64_le(packet.pts);
        to.put_u32_le(packet.duration);
        to.put_u8(packet.discontinuity.into());
        put_bytes(to, &packet.payload, PACKET_LEN, "packet")?;
    }
    Ok(())
}

fn get_packets(from: &mut Bytes) -> Result<Vec<Packet>, Error> {
    let count = from.try_get_u32_le()?;
    if count as usize > PACKETS {
        return Err(Error::TooLong("list of packets"));
    }
    let mut packets = Vec::new();
    for _ in 0..count {
        packets.push(Packet {
            pts: from.try_get_i64_le()?,
            duration: from.try_get_u32_le()?,
            discontinuity: flag(from)?,
            payload: get_bytes(from, PACKET_LEN, "packet")?,
        });
    }
    Ok(packets)
}

fn flag(from: &mut Bytes) -> Result<bool, Error> {
    match from.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::Unknown("flag")),
    }
}

fn rate(from: &mut Bytes) -> Result<u32, Error> {
    match from.try_get_u32_le()? {
        0 => Err(Error::Unknown("rate")),
        rate => Ok(rate),
    }
}

fn whole<T>(rest: &Bytes, message: T) -> Result<T, Error> {
    if rest.is_empty() { Ok(message) } else { Err(Error::Rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Vec<Request> {
        let open = Request::Open {
            id: 7,
            source: Source {
                codec: Decode::Flac,
                sample_rate: 44_100,
                channels: 2,
                clock_rate: 1_000,
                parameters: Bytes::from_static(&[1, 2, 3]),
            },
            target: Target {
                codec: Encode::Aac,
                sample_rate: 44_100,
                channels: 2,
                bitrate: 0,
            },
        };
        let packet = Request::Packet {
            id: 7,
            pts: -5,
            payload: Bytes::from_static(b"packet"),
        };
        let hello = Request::Hello {
            version: VERSION,
            memory: 1 << 30,
            threads: 2,
        };
        vec![hello, open, packet, Request::Flush { id: 7 }, Request::Close { id: 7 }]
    }

    fn answers() -> Vec<Answer> {
        let packet = |pts| Packet {
            pts,
            duration: 1024,
            discontinuity: pts == 0,
            payload: Bytes::from_static(b"sound"),
        };
        vec![
            Answer::Hello { version: VERSION },
            Answer::Opened {
                id: 7,
                parameters: Bytes::from_static(&[0x11, 0x90]),
            },
            Answer::Failed {
                id: 7,
                problem: Problem::Target,
                words: "no".to_owned(),
            },
            Answer::Converted {
                id: 7,
                problem: Some(Problem::Packet),
                packets: vec![packet(0), packet(1024)],
            },
            Answer::Flushed {
                id: 7,
                packets: vec![packet(2048)],
            },
        ]
    }

    fn body(write: impl Fn(&mut Vec<u8>) -> Result<(), Error>) -> Bytes {
        let mut wire = Vec::new();
        write(&mut wire).unwrap();
        read_message(&wire[..]).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for request in requests() {
            assert_eq!(Request::parse(body(|to| request.write(to))), Ok(request.clone()));
        }
        for answer in answers() {
            assert_eq!(Answer::parse(body(|to| answer.write(to))), Ok(answer.clone()));
        }
    }

    #[test]
    fn messages_follow_each_other_and_the_end_between_two_is_no_error() {
        let mut wire = Vec::new();
        for answer in answers() {
            answer.write(&mut wire).unwrap();
        }
        let from = &mut &wire[..];
        for answer in answers() {
            assert_eq!(Answer::parse(read_message(&mut *from).unwrap().unwrap()), Ok(answer));
        }
        assert_eq!(read_message(from).unwrap(), None);
    }

    #[test]
    fn a_cut_message_is_an_error_and_never_a_short_one() {
        for answer in answers() {
            let body = body(|to| answer.write(to));
            for len in 0..body.len() {
                assert!(Answer::parse(body.slice(..len)).is_err(), "{answer:?} {len}");
            }
        }
        for request in requests() {
            let mut wire = Vec::new();
            request.write(&mut wire).unwrap();
            for len in 5..wire.len() {
                assert!(
                    Request::parse(wire[4..len].to_vec().into()).is_err(),
                    "{request:?} {len}"
                );
            }
            for len in 1..wire.len() {
                assert!(read_message(&wire[..len]).is_err(), "{request:?} {len}");
            }
        }
    }

    #[test]
    fn lengths_beyond_their_bound_are_refused_before_anything_is_read() {
        assert!(read_message(&u32::MAX.to_le_bytes()[..]).is_err());
        let opened = [&[2, 7, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(Answer::parse(opened.into()), Err(Error::TooLong("parameters")));
        let flushed = [&[5, 7, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(Answer::parse(flushed.into()), Err(Error::TooLong("list of packets")));
    }

    #[test]
    fn numbers_without_a_meaning_are_refused() {
        assert_eq!(Answer::parse(vec![9].into()), Err(Error::Unknown("answer")));
        assert_eq!(Request::parse(vec![0].into()), Err(Error::Unknown("request")));
        assert_eq!(Request::parse(vec![4, 0, 0, 0, 0, 0].into()), Err(Error::Rest));
        let mut open = body(|to| requests()[1].write(to)).to_vec();
        open[5] = 0;
        assert_eq!(Request::parse(open.into()), Err(Error::Unknown("source")));
        let mut open = body(|to| requests()[1].write(to)).to_vec();
        open[11..15].fill(0);
        assert_eq!(Request::parse(open.into()), Err(Error::Unknown("rate")));
    }

    #[test]
    fn a_packet_that_is_too_long_is_not_written() {
        let packet = Request::Packet {
            id: 1,
            pts: 0,
            payload: vec![0; PACKET_LEN + 1].into(),
        };
        let mut wire = vec![1, 2, 3];
        assert_eq!(packet.write(&mut wire), Err(Error::TooLong("packet")));
        assert_eq!(wire, [1, 2, 3]);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let failed = Answer::Failed {
            id: 1,
            problem: Problem::Inside,
            words: "ä".repeat(WORDS_LEN),
        };
        match Answer::parse(body(|to| failed.write(to))).unwrap() {
            Answer::Failed { words, .. } => assert_eq!(words, "ä".repeat(WORDS_LEN / 2)),
            other => panic!("{other:?}"),
        }
    }
}
