//! A sample as it stands in MP4 or FLV, to the one form that a payload has here.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{Bytes, BytesMut};

use crate::{
    Codec, Error, Flags,
    codec::{av1, h264, h265, vp8, vp9},
    nal::{self, Builder, MAX_ACCESS_UNIT},
    read::Cursor,
};

/// Parameter sets of one track that are kept beside those in force.
const MAX_SETS: usize = 64;

/// What a decoder must know before the first sample, and how samples are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The codec, with the parameters in force.
    pub codec: Codec,
    /// Bytes of the length in front of each NAL unit of a sample.
    length_size: u8,
    /// Parameter sets that have no place in [`Codec`]: they belong into the payload of every keyframe.
    sets: Vec<Bytes>,
}

/// A payload in its canonical form, what can be said about it, and whether the track's parameters changed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The payload.
    pub payload: Bytes,
    /// Whether decoding may start here, whether others need it.
    pub flags: Flags,
    /// [`Description::codec`] has other parameters from here on.
    pub changed: bool,
}

impl Description {
    /// Of a codec whose samples are payloads as they are, but for delimiters.
    pub fn new(codec: Codec) -> Description {
        Description {
            codec,
            length_size: 4,
            sets: Vec::new(),
        }
    }

    /// Of an avcC record.
    pub fn avc(record: &[u8]) -> Result<Description, Error> {
        let mut cursor = Cursor::new(record);
        if cursor.u8()? != 1 {
            return Err(Error::Invalid("avcC version"));
        }
        cursor.skip(3)?;
        let length_size = length_size(cursor.u8()?)?;
        let mut parameters = h264::Parameters::default();
        let mut sets = Vec::new();
        for mask in [0x1f, 0xff] {
            let count = cursor.u8()? & mask;
            for _ in 0..count {
                let nal = set(&mut cursor)?;
                if parameters.handle(&nal).is_none() {
                    keep(&mut sets, nal)?;
                }
            }
        }
        Ok(Description {
            codec: Codec::H264(parameters),
            length_size,
            sets,
        })
    }

    /// Of an hvcC record.
    pub fn hevc(record: &[u8]) -> Result<Description, Error> {
        let mut cursor = Cursor::new(record);
        if cursor.u8()? != 1 {
            return Err(Error::Invalid("hvcC version"));
        }
        cursor.skip(20)?;
        let length_size = length_size(cursor.u8()?)?;
        let mut parameters = h265::Parameters::default();
        let mut sets = Vec::new();
        for _ in 0..cursor.u8()? {
            cursor.skip(1)?;
            for _ in 0..cursor.u16()? {
                let nal = set(&mut cursor)?;
                let is_set = matches!(
                    h265::NalType::of(&nal),
                    h265::NalType::VPS | h265::NalType::SPS | h265::NalType::PPS
                );
                // Encoders leave a note about themselves here: it says nothing about the pictures.
                if is_set && parameters.handle(&nal).is_none() {
                    keep(&mut sets, nal)?;
                }
            }
        }
        Ok(Description {
            codec: Codec::H265(parameters),
            length_size,
            sets,
        })
    }

    /// Brings a sample into the form of its codec. Parameter sets in band are taken over into the codec.
    pub fn canonical(&mut self, sample: &Bytes) -> Result<Canonical, Error> {
        if sample.len() > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge("sample"));
        }
        let key = match &self.codec {
            Codec::H264(_) | Codec::H265(_) => return nals(sample, self),
            Codec::Av1(_) => return obus(sample, self),
            Codec::Vp8 => vp8::is_key(sample),
            Codec::Vp9 => vp9::is_key(sample),
            _ => true,
        };
        Ok(Canonical {
            payload: sample.clone(),
            flags: Flags::NONE.set(Flags::KEY, key),
            changed: false,
        })
    }
}

fn length_size(byte: u8) -> Result<u8, Error> {
    match (byte & 3).saturating_add(1) {
        3 => Err(Error::Invalid("NAL unit length size")),
        size => Ok(size),
    }
}

fn set(cursor: &mut Cursor<'_>) -> Result<Bytes, Error> {
    let size = cursor.u16()?.into();
    cursor.take(size).map(Bytes::copy_from_slice)
}

fn keep(sets: &mut Vec<Bytes>, nal: Bytes) -> Result<(), Error> {
    if sets.len() >= MAX_SETS {
        return Err(Error::TooLarge("parameter sets"));
    }
    if !nal.is_empty() {
        sets.push(nal);
    }
    Ok(())
}

fn nals(sample: &Bytes, description: &mut Description) -> Result<Canonical, Error> {
    let mut cursor = Cursor::new(sample);
    // Nothing to change, and so nothing to copy.
    let mut as_it_is = description.length_size == 4 && description.sets.is_empty();
    let mut changed = false;
    let mut builder = Builder::new();
    let mut key = false;
    let mut referenced = false;
    while !cursor.is_empty() {
        let size = match description.length_size {
            1 => cursor.u8()?.into(),
            2 => cursor.u16()?.into(),
            _ => cursor.u32()?,
        };
        let nal = cursor.take(usize::try_from(size).map_err(|_| Error::Truncated)?)?;
        if nal.is_empty() || is_apart(&mut description.codec, &sample.slice_ref(nal), &mut changed) {
            as_it_is = false;
            continue;
        }
        let role = role(&description.codec, nal);
        key |= role.key;
        referenced |= role.referenced;
        builder.push(nal)?;
    }
    let payload = match (as_it_is, key) {
        (true, _) => sample.clone(),
        (false, true) if !description.sets.is_empty() => {
            let body = builder.take();
            nal::from_nals(description.sets.iter().map(|set| &**set).chain(nal::iter(&body)))?
        }
        (false, _) => builder.take(),
    };
    Ok(Canonical {
        payload,
        flags: Flags::NONE.set(Flags::KEY, key).set(Flags::DISPOSABLE, !referenced),
        changed,
    })
}

/// Whether a NAL unit has no place in a payload: delimiters, and parameter sets, which go into the codec.
fn is_apart(codec: &mut Codec, nal: &Bytes, changed: &mut bool) -> bool {
    let taken = match codec {
        Codec::H264(_) if h264::NalType::of(nal) == h264::NalType::AUD => return true,
        Codec::H265(_) if h265::NalType::of(nal) == h265::NalType::AUD => return true,
        Codec::H264(parameters) => parameters
            .handle(nal)
            .map(|changed| changed && parameters.is_complete()),
        Codec::H265(parameters) => parameters
            .handle(nal)
            .map(|changed| changed && parameters.is_complete()),
        _ => None,
    };
    *changed |= taken == Some(true);
    taken.is_some()
}

struct Role {
    key: bool,
    referenced: bool,
}

fn role(codec: &Codec, nal: &[u8]) -> Role {
    if let Codec::H265(parameters) = codec {
        let kind = h265::NalType::of(nal);
        return Role {
            key: kind.is_random_access(),
            // With temporal layers a picture that its own layer does not refer to may still be needed by a higher one.
            referenced: kind.is_slice() && (parameters.has_sub_layers() || kind.is_referenced()),
        };
    }
    let kind = h264::NalType::of(nal);
    Role {
        key: kind == h264::NalType::IDR || kind == h264::NalType::SEI && h264::has_recovery_point(nal),
        referenced: kind.is_slice() && nal.first().is_some_and(|header| header & 0x60 != 0),
    }
}

fn obus(sample: &Bytes, description: &mut Description) -> Result<Canonical, Error> {
    let Codec::Av1(parameters) = &mut description.codec else {
        return Err(Error::Unsupported("codec"));
    };
    let canonical = av1::check(sample).is_ok();
    let mut unit = BytesMut::new();
    let mut changed = false;
    let mut count = 0usize;
    let mut rest = &**sample;
    while !rest.is_empty() {
        let (obu, size) = av1::Obu::parse(rest)?;
        rest = rest.get(size..).unwrap_or_default();
        count = count.saturating_add(1);
        if count > av1::MAX_OBUS {
            return Err(Error::TooLarge("OBUs of a temporal unit"));
        }
        changed |= parameters.handle(&obu);
        if !canonical && obu.kind != av1::ObuType::TEMPORAL_DELIMITER {
            obu.put_sized(&mut unit);
        }
    }
    let payload = if canonical { sample.clone() } else { unit.freeze() };
    if payload.len() > MAX_ACCESS_UNIT {
        return Err(Error::TooLarge("temporal unit"));
    }
    let flags = Flags::NONE.set(Flags::KEY, av1::is_key(&payload));
    Ok(Canonical {
        payload,
        flags,
        changed,
    })
}
