//! `frame`: the frame at hand. Reading copies into the guest; passing on, splicing and holding share the host's bytes.

use bytes::Bytes;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtx_media::{Flags, Frame, Payload, TrackId, WallClock};

use super::State;
use crate::{
    bindings::plugin::{
        frame::{FrameError, Host, HostHeld, Part},
        types::FrameInfo,
    },
    hits::{Limit, Refusal},
    limits::Limits,
    metrics::tally,
};

/// Pieces of a payload that travel unjoined.
const PIECES: usize = 16;

/// Bytes that a guest keeps: its number is a place in [`AtHand`].
#[allow(unreachable_pub, reason = "generated code re-exports it")]
pub struct Held;

/// What the call at hand is about, and what the guest said to it.
#[derive(Default)]
pub(crate) struct AtHand {
    /// The frame, while `filter.frame` runs.
    pub(crate) frame: Option<Frame>,
    /// How many frames may be emitted in this call: none unless `filter.frame` or `filter.close` runs.
    pub(crate) emits: usize,
    /// The new payload.
    pub(crate) spliced: Option<Payload>,
    /// In order, before the frame itself.
    pub(crate) emitted: Vec<Frame>,
    /// The tracks that the guest said it sends.
    pub(crate) tracks: Vec<TrackId>,
    held: Vec<Option<Payload>>,
    free: Vec<u32>,
    /// Sum of the lengths in `held`.
    held_bytes: usize,
    bounds: Bounds,
}

/// What a guest may hold and make.
#[derive(Default)]
struct Bounds {
    frames: usize,
    bytes: usize,
    payload: usize,
}

impl AtHand {
    pub(crate) fn new(limits: &Limits) -> AtHand {
        AtHand {
            bounds: Bounds {
                frames: limits.held_frames,
                bytes: limits.held_bytes,
                payload: limits.payload,
            },
            ..AtHand::default()
        }
    }

    /// The same with what a sink may hold.
    pub(crate) fn of_sink(limits: &Limits) -> AtHand {
        let at_hand = AtHand::new(limits);
        AtHand {
            bounds: Bounds {
                frames: limits.sink_held_frames,
                bytes: limits.sink_held_bytes,
                ..at_hand.bounds
            },
            ..at_hand
        }
    }

    /// Bytes that the guest keeps.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn hold(&mut self) -> Result<u32, Refusal<FrameError>> {
        let payload = self.frame.as_ref().ok_or(FrameError::NoFrame)?.payload.clone();
        if self.held.len() - self.free.len() >= self.bounds.frames {
            return Err(Refusal::Limit(Limit::HeldFrames));
        }
        if self.held_bytes + payload.len() > self.bounds.bytes {
            return Err(Refusal::Limit(Limit::HeldBytes));
        }
        Ok(self.lend(payload))
    }

    /// Whether the guest may get more frames: a sink keeps as many as it may hold beside those of the batch at hand.
    pub(crate) fn may_lend(&self) -> Result<(), Limit> {
        if self.held.len() - self.free.len() > self.bounds.frames {
            return Err(Limit::SinkHeldFrames);
        }
        if self.held_bytes > self.bounds.bytes {
            return Err(Limit::SinkHeldBytes);
        }
        Ok(())
    }

    /// Bytes that the guest may keep, without its asking.
    pub(crate) fn lend(&mut self, payload: Payload) -> u32 {
        self.held_bytes += payload.len();
        self.put(payload)
    }

    fn put(&mut self, payload: Payload) -> u32 {
        if let Some(place) = self.free.pop() {
            self.held[place as usize] = Some(payload);
            return place;
        }
        self.held.push(Some(payload));
        self.held.len() as u32 - 1
    }

    fn held(&self, handle: &Resource<Held>) -> Option<&Payload> {
        self.held.get(handle.rep() as usize)?.as_ref()
    }

    /// The part of what the guest keeps there, as far as it is there.
    pub(crate) fn part(&self, handle: &Resource<Held>, offset: u32, len: u32) -> Bytes {
        clamp(self.held(handle), offset, len)
    }

    fn release(&mut self, place: u32) {
        if let Some(payload) = self.held.get_mut(place as usize).and_then(Option::take) {
            self.held_bytes -= payload.len();
            self.free.push(place);
        }
    }

    /// One payload of the parts, which are shared and not copied.
    fn join(&self, parts: Vec<Part>) -> Result<Payload, Refusal<FrameError>> {
        let mut pieces = Vec::with_capacity(parts.len());
        let mut total = 0usize;
        for part in parts {
            let before = pieces.len();
            self.add_pieces(part, &mut pieces)?;
            let added: usize = pieces[before..].iter().map(Bytes::len).sum();
            total = total.saturating_add(added);
            if total > self.bounds.payload {
                return Err(Refusal::Limit(Limit::Payload));
            }
        }
        let payload = Payload::of_pieces(pieces);
        if payload.pieces().len() > PIECES {
            // Many small pieces cost more to carry along than to join.
            return Ok(Bytes::from(payload).into());
        }
        Ok(payload)
    }

    fn add_pieces(&self, part: Part, pieces: &mut Vec<Bytes>) -> Result<(), FrameError> {
        match part {
            Part::Bytes(bytes) => pieces.push(bytes.into()),
            Part::Held(handle) => {
                pieces.extend_from_slice(self.held(&handle).ok_or(FrameError::Range)?.pieces());
            }
            Part::Original(slice) => {
                let payload = &self.frame.as_ref().ok_or(FrameError::NoFrame)?.payload;
                let end = slice.offset.checked_add(slice.len).ok_or(FrameError::Range)? as usize;
                if end > payload.len() {
                    return Err(FrameError::Range);
                }
                pieces.append(&mut payload.part(slice.offset as usize..end));
            }
        }
        Ok(())
    }
}

impl Host for State {
    // Shadowed by `add_reads`; bindgen wants it all the same.
    fn read(&mut self, offset: u32, len: u32) -> Vec<u8> {
        clamp(self.frame.frame.as_ref().map(|frame| &frame.payload), offset, len).into()
    }

    fn hold(&mut self) -> Result<Resource<Held>, FrameError> {
        let held = self.frame.hold();
        held.map(Resource::new_own)
            .map_err(|refusal| self.refused(refusal, FrameError::Quota))
    }

    fn splice(&mut self, parts: Vec<Part>) -> Result<(), FrameError> {
        if self.frame.frame.is_none() {
            return Err(FrameError::NoFrame);
        }
        tally(&self.place.counts.bytes_made, made(&parts));
        let joined = self.frame.join(parts);
        self.frame.spliced = Some(joined.map_err(|refusal| self.refused(refusal, FrameError::Quota))?);
        Ok(())
    }

    fn emit(&mut self, info: FrameInfo, parts: Vec<Part>) -> Result<(), FrameError> {
        let at_hand = &self.frame;
        if at_hand.emits == 0 {
            return Err(FrameError::NoFrame);
        }
        if at_hand.emitted.len() >= at_hand.emits {
            return Err(self.refused(Refusal::Limit(Limit::Emits), FrameError::Quota));
        }
        if !at_hand.tracks.contains(&TrackId(info.track)) {
            return Err(FrameError::Range);
        }
        tally(&self.place.counts.bytes_made, made(&parts));
        let joined = at_hand.join(parts);
        let payload = joined.map_err(|refusal| self.refused(refusal, FrameError::Quota))?;
        self.frame.emitted.push(frame(&info, payload));
        Ok(())
    }
}

impl HostHeld for State {
    fn size(&mut self, handle: Resource<Held>) -> u32 {
        self.frame
            .held(&handle)
            .map_or(0, |payload| u32::try_from(payload.len()).unwrap_or(u32::MAX))
    }

    // Shadowed by `add_reads`.
    fn read(&mut self, handle: Resource<Held>, offset: u32, len: u32) -> Vec<u8> {
        clamp(self.frame.held(&handle), offset, len).into()
    }

    fn drop(&mut self, handle: Resource<Held>) -> wasmtime::Result<()> {
        self.frame.release(handle.rep());
        Ok(())
    }
}

/// The two functions that answer with bytes, by hand: what bindgen generates would copy them once more.
pub(crate) fn add_reads(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut frame = linker.instance("wasmtx:plugin/frame@0.1.0")?;
    frame.func_wrap(
        "read",
        |store: StoreContextMut<'_, State>, (offset, len): (u32, u32)| {
            let state = store.data();
            let bytes = clamp(state.frame.frame.as_ref().map(|frame| &frame.payload), offset, len);
            tally(&state.place.counts.bytes_read, bytes.len() as u64);
            Ok((bytes,))
        },
    )?;
    frame.func_wrap(
        "[method]held.read",
        |store: StoreContextMut<'_, State>, (handle, offset, len): (Resource<Held>, u32, u32)| {
            let state = store.data();
            let bytes = clamp(state.frame.held(&handle), offset, len);
            tally(&state.place.counts.bytes_read, bytes.len() as u64);
            Ok((bytes,))
        },
    )?;
    Ok(())
}

/// Bytes of the guest's own in these parts.
fn made(parts: &[Part]) -> u64 {
    let own = |part: &Part| match part {
        Part::Bytes(bytes) => bytes.len() as u64,
        Part::Original(_) | Part::Held(_) => 0,
    };
    parts.iter().map(own).sum()
}

/// The part of `bytes` that is there: numbers of a guest are cut, not trusted.
fn clamp(payload: Option<&Payload>, offset: u32, len: u32) -> Bytes {
    let Some(payload) = payload else { return Bytes::new() };
    let start = (offset as usize).min(payload.len());
    let end = start.saturating_add(len as usize).min(payload.len());
    match payload.pieces() {
        [whole] => whole.slice(start..end),
        _ => Payload::of_pieces(payload.part(start..end)).into(),
    }
}

/// How a guest sees a frame.
pub(crate) fn info(frame: &Frame) -> FrameInfo {
    let mut lead = [0; 16];
    frame.payload.lead(&mut lead);
    let lead = u128::from_be_bytes(lead);
    FrameInfo {
        track: frame.track.0,
        flags: frame.flags.0,
        pts: frame.pts,
        dts: frame.dts,
        duration: frame.duration,
        wall: frame.wall.map_or(0, |wall| wall.0),
        number: frame.number,
        size: u32::try_from(frame.payload.len()).unwrap_or(u32::MAX),
        lead_high: (lead >> 64) as u64,
        lead_low: lead as u64,
    }
}

/// A frame as a guest described it. Its number is the hub's to give.
fn frame(info: &FrameInfo, payload: Payload) -> Frame {
    let known = Flags::KEY
        .with(Flags::DISCONTINUITY)
        .with(Flags::DISPOSABLE)
        .with(Flags::MARKER);
    Frame {
        track: TrackId(info.track),
        number: info.number,
        pts: info.pts,
        dts: info.dts,
        duration: info.duration,
        wall: (info.wall != 0).then_some(WallClock(info.wall)),
        flags: Flags(info.flags & known.0),
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::plugin::frame::Slice;

    fn at_hand(payload: &'static [u8]) -> AtHand {
        let info = FrameInfo {
            track: 1,
            flags: u32::MAX,
            pts: 2,
            dts: 1,
            duration: 0,
            wall: 0,
            number: 0,
            size: 0,
            lead_high: 0,
            lead_low: 0,
        };
        AtHand {
            frame: Some(frame(&info, payload.into())),
            ..AtHand::new(&Limits::default())
        }
    }

    fn original(offset: u32, len: u32) -> Part {
        Part::Original(Slice { offset, len })
    }

    #[test]
    fn parts_are_joined_in_order() {
        let at_hand = at_hand(b"0123456789");
        let joined = at_hand
            .join(vec![original(8, 2), Part::Bytes(b"abc".to_vec()), original(0, 1)])
            .unwrap();
        assert_eq!(*joined, b"89abc0"[..]);
    }

    #[test]
    fn one_part_is_shared() {
        let at_hand = at_hand(b"0123456789");
        let joined = at_hand.join(vec![original(0, 10)]).unwrap();
        assert_eq!(joined.as_ptr(), at_hand.frame.unwrap().payload.as_ptr());
    }

    #[test]
    fn ranges_outside_the_frame_are_refused_when_joining_and_cut_when_reading() {
        let at_hand = at_hand(b"0123456789");
        for (offset, len) in [(0, 11), (11, 0), (u32::MAX, 1), (1, u32::MAX)] {
            assert!(
                matches!(
                    at_hand.join(vec![original(offset, len)]),
                    Err(Refusal::Error(FrameError::Range))
                ),
                "{offset}+{len}"
            );
        }
        let payload = at_hand.frame.as_ref().map(|frame| &frame.payload);
        assert_eq!(clamp(payload, 8, u32::MAX), b"89"[..]);
        assert_eq!(clamp(payload, u32::MAX, u32::MAX), b""[..]);
        assert_eq!(clamp(None, 0, 1), b""[..]);
    }

    #[test]
    fn a_payload_is_bounded() {
        let at_hand = at_hand(b"0123456789");
        let giant = vec![Part::Bytes(vec![0; at_hand.bounds.payload]), original(0, 1)];
        assert!(matches!(at_hand.join(giant), Err(Refusal::Limit(Limit::Payload))));
    }

    #[test]
    fn holding_is_bounded_and_releasing_makes_room() {
        let mut at_hand = at_hand(b"0123456789");
        for n in 0..256 {
            assert_eq!(at_hand.hold().unwrap(), n as u32);
        }
        assert!(matches!(at_hand.hold(), Err(Refusal::Limit(Limit::HeldFrames))));
        at_hand.release(3);
        at_hand.release(3);
        at_hand.release(u32::MAX);
        assert_eq!(at_hand.held_bytes(), 10 * 255);
        assert_eq!(at_hand.hold().unwrap(), 3);
        at_hand.frame = None;
        assert!(matches!(at_hand.hold(), Err(Refusal::Error(FrameError::NoFrame))));
    }

    #[test]
    fn the_first_sixteen_bytes_are_in_the_description() {
        let frame = at_hand(b"\x01\x02\x03").frame.unwrap();
        let info = info(&frame);
        assert_eq!(
            (info.lead_high, info.lead_low, info.size),
            (0x0102_0300_0000_0000, 0, 3)
        );
        assert_eq!(frame.flags, Flags(15), "unknown flags are dropped");
    }
}
