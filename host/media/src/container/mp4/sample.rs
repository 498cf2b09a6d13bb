//! A sample as it stands in a file, to the one form that a payload has here.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{Bytes, BytesMut};

use super::entry::Entry;
use crate::{
    Codec, Error, Flags,
    codec::{av1, h264, h265, vp9},
    nal::{self, Builder, MAX_ACCESS_UNIT},
    read::Cursor,
};

/// A payload in its canonical form, what can be said about it, and whether the track's parameters changed with it.
pub(super) struct Canonical {
    pub(super) payload: Bytes,
    pub(super) flags: Flags,
    pub(super) changed: bool,
}

/// Brings a sample into the form of its codec. Parameter sets in band are taken over into the entry.
pub(super) fn canonical(sample: &Bytes, entry: &mut Entry) -> Result<Canonical, Error> {
    if sample.len() > MAX_ACCESS_UNIT {
        return Err(Error::TooLarge("sample"));
    }
    match &entry.codec {
        Codec::H264(_) | Codec::H265(_) => nals(sample, entry),
        Codec::Av1(_) => obus(sample, entry),
        codec => {
            let key = !matches!(codec, Codec::Vp9) || vp9::is_key(sample);
            Ok(Canonical {
                payload: sample.clone(),
                flags: Flags::NONE.set(Flags::KEY, key),
                changed: false,
            })
        }
    }
}

fn nals(sample: &Bytes, entry: &mut Entry) -> Result<Canonical, Error> {
    let mut cursor = Cursor::new(sample);
    // Nothing to change, and so nothing to copy.
    let mut as_it_is = entry.length_size == 4 && entry.sets.is_empty();
    let mut changed = false;
    let mut builder = Builder::new();
    let mut key = false;
    let mut referenced = false;
    while !cursor.is_empty() {
        let size = match entry.length_size {
            1 => cursor.u8()?.into(),
            2 => cursor.u16()?.into(),
            _ => cursor.u32()?,
        };
        let nal = cursor.take(usize::try_from(size).map_err(|_| Error::Truncated)?)?;
        if nal.is_empty() || is_apart(&mut entry.codec, &sample.slice_ref(nal), &mut changed) {
            as_it_is = false;
            continue;
        }
        let role = role(&entry.codec, nal);
        key |= role.key;
        referenced |= role.referenced;
        builder.push(nal)?;
    }
    let payload = match (as_it_is, key) {
        (true, _) => sample.clone(),
        (false, true) if !entry.sets.is_empty() => {
            let body = builder.take();
            nal::from_nals(entry.sets.iter().map(|set| &**set).chain(nal::iter(&body)))?
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

fn obus(sample: &Bytes, entry: &mut Entry) -> Result<Canonical, Error> {
    let Codec::Av1(parameters) = &mut entry.codec else {
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
