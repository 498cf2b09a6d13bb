//! What the server says.

use bytes::{Buf, BufMut, Bytes};

use super::{Error, PACKET_LEN, PARAMETERS_LEN, PICTURE_LEN, SETS_LEN, get_bytes, message, put_bytes, whole};

/// What the server says. `id` names a converter; the server chooses it and does not use it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// First of all.
    Hello {
        /// [`VERSION`](super::VERSION).
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
    /// Nothing more comes: what is still inside is wanted. Answered by [`Answer::Flushed`](super::Answer::Flushed).
    Flush {
        /// The converter.
        id: u32,
    },
    /// The converter is not needed any more. Not answered.
    Close {
        /// The converter.
        id: u32,
    },
    /// A picture is wanted as JPEG. Answered by [`Answer::Picture`](super::Answer::Picture).
    Picture {
        /// Its name; the server does not use it twice, nor for a converter.
        id: u32,
        /// The codec.
        codec: Video,
        /// Pixels in a row of what is wanted; 0, or more than there are: as many as there are.
        width: u16,
        /// The codec's configuration record (avcC, hvcC, av1C), up to [`SETS_LEN`] bytes; empty where it has none.
        parameters: Bytes,
        /// One keyframe, up to [`PICTURE_LEN`] bytes; of H.264 and H.265 NAL units behind lengths of four bytes.
        payload: Bytes,
    },
}
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

/// A codec of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Video {
    /// ITU-T H.264.
    H264 = 1,
    /// ITU-T H.265.
    H265 = 2,
    /// AOMedia AV1, one temporal unit.
    Av1 = 3,
    /// VP8 (RFC 6386).
    Vp8 = 4,
    /// VP9.
    Vp9 = 5,
    /// One JFIF image, to be made smaller.
    Jpeg = 6,
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
                Request::Picture {
                    id,
                    codec,
                    width,
                    parameters,
                    payload,
                } => {
                    to.put_u8(6);
                    to.put_u32_le(*id);
                    to.put_u8(*codec as u8);
                    to.put_u16_le(*width);
                    put_bytes(to, parameters, SETS_LEN, "parameters")?;
                    put_bytes(to, payload, PICTURE_LEN, "picture")?;
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
            6 => Request::Picture {
                id: from.try_get_u32_le()?,
                codec: Video::parse(from.try_get_u8()?)?,
                width: from.try_get_u16_le()?,
                parameters: get_bytes(from, SETS_LEN, "parameters")?,
                payload: get_bytes(from, PICTURE_LEN, "picture")?,
            },
            _ => return Err(Error::Unknown("request")),
        };
        whole(from, request)
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

impl Video {
    fn parse(number: u8) -> Result<Video, Error> {
        use Video::*;
        [H264, H265, Av1, Vp8, Vp9, Jpeg]
            .into_iter()
            .find(|codec| *codec as u8 == number)
            .ok_or(Error::Unknown("codec"))
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
fn rate(from: &mut Bytes) -> Result<u32, Error> {
    match from.try_get_u32_le()? {
        0 => Err(Error::Unknown("rate")),
        rate => Ok(rate),
    }
}
