//! What the worker says.

use bytes::{Buf, BufMut, Bytes};

use super::{
    Error, PACKET_LEN, PACKETS, PARAMETERS_LEN, PICTURE_LEN, WORDS_LEN, get_bytes, length, message, put_bytes, whole,
};

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
    /// A picture is not what its codec says, or larger than is decoded.
    #[error("the picture cannot be decoded")]
    Picture = 6,
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
        /// [`VERSION`](super::VERSION).
        version: u16,
    },
    /// The converter is there.
    Opened {
        /// Its name.
        id: u32,
        /// The AudioSpecificConfig, or the OpusHead of RFC 7845 section 5.1.
        parameters: Bytes,
    },
    /// The converter is gone, or never was; or there is no such picture.
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
    /// A picture as it was wanted.
    Picture {
        /// Its name.
        id: u32,
        /// One JFIF image, up to [`PICTURE_LEN`] bytes.
        jpeg: Bytes,
    },
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
                Answer::Picture { id, jpeg } => {
                    to.put_u8(6);
                    to.put_u32_le(*id);
                    put_bytes(to, jpeg, PICTURE_LEN, "picture")?;
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
            6 => Answer::Picture {
                id: from.try_get_u32_le()?,
                jpeg: get_bytes(from, PICTURE_LEN, "picture")?,
            },
            _ => return Err(Error::Unknown("answer")),
        };
        whole(from, answer)
    }
}
impl Problem {
    fn parse(number: u8) -> Result<Problem, Error> {
        use Problem::*;
        [Source, Target, Packet, Inside, TooMany, Picture]
            .into_iter()
            .find(|problem| *problem as u8 == number)
            .ok_or(Error::Unknown("problem"))
    }
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
