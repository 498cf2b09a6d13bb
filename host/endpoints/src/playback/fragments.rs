//! A range as a fragmented file: parts that are in it whole are copied, with other times; those at its ends are made anew with
//! the samples that are in it.
//!
//! What leads in is decoded in no time at the moment of the first sample that is shown, as MediaMTX has it.

use bytes::Bytes;
use wasmtx_media::container::mp4::recorded::{self, Cutting, Placed, Sample};

use super::{
    Error,
    file::{File, Part},
    plan::{Mode, Plan, Role, Span},
    range::{Clock, of_ticks},
    sending::Item,
};

/// Most samples that are joined into one part.
const MAX_JOINED: usize = 8_192;

/// A part of a range, out of those of a file between two places.
pub(super) struct Made {
    pub(super) cut: recorded::Cut,
    /// Where the walk goes on.
    pub(super) end: u64,
}

/// Makes a part of a range out of the one at `at`, or, of a span whose parts are joined, out of it and all that follow. None when
/// there is no part there any more.
pub(super) fn make(plan: &Plan, file: &File, clocks: &[Clock], span: &Span, at: u64) -> Result<Option<Made>, Error> {
    let mut cutting = Cutting::default();
    let mut number_of = None;
    let mut end = at;
    while end < span.to
        && let Some(part) = file.part(end)?
    {
        let place = |sample: &Sample| place(plan, clocks, &part, sample);
        cutting.add(&part.moof, part.moof_at, &file.header.tracks, place)?;
        if number_of.is_none() {
            number_of = Some(number(file, clocks, &part)?);
        }
        end = part.end;
        if span.mode != Mode::Joined || cutting.len() > MAX_JOINED {
            break;
        }
    }
    Ok(number_of.map(|number| Made {
        cut: cutting.finish(number),
        end,
    }))
}

fn place(plan: &Plan, clocks: &[Clock], part: &Part, sample: &Sample) -> Option<Placed> {
    let clock = clocks.get(sample.track).filter(|_| part.holds(sample))?;
    let dts = clock.of_sample(sample);
    match plan.role(sample, dts, clock) {
        Role::Out => None,
        Role::Shown => Some(Placed {
            dts: u64::try_from(dts).ok()?,
            duration: sample.duration,
            later: sample.later,
        }),
        Role::Lead => {
            let first = plan.leads.get(sample.track).map_or(0, |lead| lead.first);
            // What is decoded before the range and shown in it keeps its moment.
            let later = dts.saturating_add(sample.later.into()).saturating_sub(first).max(0);
            Some(Placed {
                dts: u64::try_from(first).ok()?,
                duration: 0,
                later: i32::try_from(later).ok()?,
            })
        }
    }
}

/// The list of a part that is copied, with the times of the range.
fn moved(file: &File, clocks: &[Clock], part: &Part) -> Result<Bytes, Error> {
    let number = number(file, clocks, part)?;
    let mut moof = part.moof.to_vec();
    let by = |id| {
        let place = file.header.track(id)?;
        let (track, clock) = (file.header.tracks.get(place)?, clocks.get(place)?);
        Some(clock.zero.saturating_add(track.shift))
    };
    recorded::shift(&mut moof, number, by)?;
    Ok(moof.into())
}

/// Parts are numbered by the millisecond that they begin in: so a part has the same number whoever asks for it, from wherever.
fn number(file: &File, clocks: &[Clock], part: &Part) -> Result<u32, Error> {
    let mut first: Option<i64> = None;
    file.samples(part, |sample| {
        if first.is_none()
            && let (Some(track), Some(clock)) = (file.header.tracks.get(sample.track), clocks.get(sample.track))
        {
            first = Some(of_ticks(clock.of_sample(sample).max(0), track.clock_rate) / 1_000_000);
        }
    })?;
    // Modulo 2^32, which is after seven weeks.
    let number = first.unwrap_or_default().saturating_add(1);
    Ok(u32::try_from(number & i64::from(u32::MAX)).unwrap_or_default())
}

/// What a part becomes that is copied, as things to send: it is as long as it was.
pub(super) fn copied(file: &File, clocks: &[Clock], part: &Part) -> Result<[Item; 3], Error> {
    let behind = part.moof_at.saturating_add(part.moof.len() as u64);
    Ok([
        Item::File(part.start..part.moof_at),
        Item::Bytes(moved(file, clocks, part)?),
        Item::File(behind..part.end),
    ])
}

/// What a part becomes that is made.
pub(super) fn made(cut: recorded::Cut) -> impl Iterator<Item = Item> {
    let head = (!cut.is_empty()).then(|| Item::Bytes(cut.head.into()));
    head.into_iter().chain(cut.payload.into_iter().map(Item::File))
}

/// What stands in place of bytes that are no part, because a writer was cut off: a box that nobody reads.
pub(super) fn filler(from: u64, to: u64) -> Vec<Item> {
    let size = to.saturating_sub(from);
    match u32::try_from(size) {
        Ok(0..8) => vec![Item::File(from..to)],
        Ok(size) => {
            let mut head = size.to_be_bytes().to_vec();
            head.extend_from_slice(b"free");
            vec![Item::Bytes(head.into()), Item::File(from.saturating_add(8)..to)]
        }
        Err(_) => {
            let mut head = 1u32.to_be_bytes().to_vec();
            head.extend_from_slice(b"free");
            head.extend_from_slice(&size.to_be_bytes());
            vec![Item::Bytes(head.into()), Item::File(from.saturating_add(16)..to)]
        }
    }
}
