//! A stream through one filter, as the server runs it: interests, verdicts, splices, emitted frames, and the swap.

use std::collections::HashMap;

use crate::filter::{Filter, Interest, Unshown, Verdict, Which};
use crate::host::server;
use crate::{CloseReason, Error, Frame, FrameInfo, Plugin, Publication, Track};

/// A frame that came out: what the next filter or the readers get.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its metadata, `size` and `lead_*` as the payload says.
    pub info: FrameInfo,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The filter answered [`Verdict::Close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// A stream with one filter in its chain.
#[derive(Debug)]
pub struct Stream<F> {
    filter: F,
    publication: Publication,
    tracks: Vec<Track>,
    shown: Shown,
}

impl<F: Filter> Stream<F> {
    /// The stream starts.
    pub fn open(mut filter: F, publication: Publication) -> Result<Self, Error> {
        let opening = inline(|| filter.open(publication.clone()))?;
        Ok(Self {
            filter,
            tracks: opening.tracks.unwrap_or_else(|| publication.tracks.clone()),
            publication,
            shown: Shown::new(opening.interests),
        })
    }

    /// The tracks that readers are told about.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// How many frames the filter was called for.
    pub fn shown(&self) -> u64 {
        self.shown.count()
    }

    /// One frame from the publisher. Returns what comes out, in order.
    pub fn push(&mut self, info: FrameInfo, payload: &[u8]) -> Result<Vec<Output>, Closed> {
        let frame = described(info, payload);
        if !self.shown.wants(&frame) {
            let passes = self
                .shown
                .interest(frame.track)
                .is_none_or(|interest| interest.others == Unshown::Pass);
            return Ok(if passes {
                vec![Output {
                    info: frame,
                    payload: payload.to_vec(),
                }]
            } else {
                Vec::new()
            });
        }
        server(|server| {
            server.payload = Some(payload.into());
            server.emitting = true;
        });
        let verdict = inline(|| self.filter.frame(&Frame::new(frame)));
        let (spliced, mut output) = server(|server| {
            server.payload = None;
            server.emitting = false;
            (server.spliced.take(), emitted(&mut server.emitted))
        });
        match verdict {
            Verdict::Pass => {
                let payload = spliced.unwrap_or_else(|| payload.to_vec());
                output.push(Output {
                    info: described(frame, &payload),
                    payload,
                });
                Ok(output)
            }
            Verdict::Drop => Ok(output),
            Verdict::Close => Err(Closed),
        }
    }

    /// Puts another instance in the place of this one between two frames, as when the plugin's file changed: opened, given the saved state, the old one
    /// closed. Returns what the old one emitted. The old one stays where it was if `open` or `restore` fails, but for [`Error::Unsupported`].
    pub fn replace(&mut self, mut filter: F) -> Result<Vec<Output>, Error> {
        let opening = inline(|| filter.open(self.publication.clone()))?;
        inline(|| hand_over(&self.filter, &mut filter))?;
        let output = self.end(CloseReason::Reload);
        self.filter = filter;
        self.tracks = opening.tracks.unwrap_or_else(|| self.publication.tracks.clone());
        self.shown.renew(opening.interests);
        Ok(output)
    }

    /// The stream ends. Returns what the filter still emitted, and the filter.
    pub fn close(mut self, reason: CloseReason) -> (Vec<Output>, F) {
        (self.end(reason), self.filter)
    }

    fn end(&mut self, reason: CloseReason) -> Vec<Output> {
        server(|server| server.emitting = true);
        inline(|| self.filter.close(reason));
        server(|server| {
            server.emitting = false;
            emitted(&mut server.emitted)
        })
    }
}

/// Which frames a filter or a sink is shown, and how many it was.
#[derive(Debug)]
pub(super) struct Shown {
    interests: Vec<Interest>,
    /// Frames of each track that were candidates for being shown, to show every n-th of them.
    candidates: HashMap<u32, u64>,
    count: u64,
}

impl Shown {
    pub(super) fn new(interests: Vec<Interest>) -> Self {
        Self {
            interests,
            candidates: HashMap::new(),
            count: 0,
        }
    }

    /// Another instance wants other frames.
    pub(super) fn renew(&mut self, interests: Vec<Interest>) {
        self.interests = interests;
        self.candidates.clear();
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn interest(&self, track: u32) -> Option<&Interest> {
        self.interests.iter().find(|interest| interest.track == track)
    }

    /// Asked once per frame.
    pub(super) fn wants(&mut self, frame: &FrameInfo) -> bool {
        let Some(interest) = self.interest(frame.track).copied() else {
            return false;
        };
        let candidate = match interest.which {
            Which::None => false,
            Which::Key => frame.is_key(),
            Which::All => true,
        };
        if !candidate {
            return false;
        }
        let seen = self.candidates.entry(frame.track).or_default();
        let wanted = seen.is_multiple_of(u64::from(interest.every.max(1)));
        *seen += 1;
        self.count += u64::from(wanted);
        wanted
    }
}

/// Gives the state of one instance to the next.
pub(super) fn hand_over<P: Plugin>(old: &P, new: &mut P) -> Result<(), Error> {
    match old.save().map(|state| new.restore(state)) {
        None | Some(Ok(()) | Err(Error::Unsupported)) => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

/// A call on the media path, where nothing waits.
pub(super) fn inline<R>(call: impl FnOnce() -> R) -> R {
    server(|server| server.inline = true);
    let result = call();
    server(|server| server.inline = false);
    result
}

fn emitted(frames: &mut Vec<(FrameInfo, Vec<u8>)>) -> Vec<Output> {
    frames
        .drain(..)
        .map(|(info, payload)| Output {
            info: described(info, &payload),
            payload,
        })
        .collect()
}

/// The metadata with what the server derives from the payload.
pub(super) fn described(info: FrameInfo, payload: &[u8]) -> FrameInfo {
    let mut lead = [0; 16];
    let len = payload.len().min(lead.len());
    lead[..len].copy_from_slice(&payload[..len]);
    let lead = u128::from_be_bytes(lead);
    FrameInfo {
        size: payload.len() as u32,
        lead_high: (lead >> 64) as u64,
        lead_low: lead as u64,
        ..info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{configure, delta, h264, key, opus, publication, take_log};
    use crate::{FrameError, Held, NoConfig, Part, Snapshot, emit};

    /// Turns the order of each two frames around, and prefixes what it emits.
    #[derive(Default)]
    struct Swap {
        held: Option<(FrameInfo, Held)>,
        count: u32,
    }

    impl Plugin for Swap {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, Error> {
            Ok(Self::default())
        }

        fn save(&self) -> Option<Snapshot> {
            Some(Snapshot {
                schema: 1,
                data: self.count.to_be_bytes().to_vec(),
            })
        }

        fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
            let count = old.data.try_into().map_err(|_| Error::other("four bytes"))?;
            self.count = u32::from_be_bytes(count);
            Ok(())
        }
    }

    impl Filter for Swap {
        fn frame(&mut self, frame: &Frame) -> Verdict {
            self.count += 1;
            match self.held.take() {
                None => {
                    self.held = Some((**frame, frame.hold().unwrap()));
                    Verdict::Drop
                }
                Some((info, held)) => {
                    emit(**frame, &[Part::Bytes(b"<"), Part::Original(0..frame.size)]).unwrap();
                    assert_eq!(held.read(0..99).len() as u32, held.size());
                    emit(info, &[Part::Held(&held)]).unwrap();
                    Verdict::Drop
                }
            }
        }

        fn close(&mut self, reason: CloseReason) {
            crate::info!("closed: {reason:?} after {}", self.count);
            if let Some((info, held)) = self.held.take() {
                emit(info, &[Part::Held(&held)]).unwrap();
            }
        }
    }

    fn payloads(output: &[Output]) -> Vec<&[u8]> {
        output.iter().map(|frame| frame.payload.as_slice()).collect()
    }

    #[test]
    fn what_a_filter_emits_comes_out_in_order() {
        let mut stream = Stream::open(Swap::default(), publication("cam", [h264(1)])).unwrap();
        assert!(stream.push(key(1, 0), b"a").unwrap().is_empty());
        let output = stream.push(delta(1, 1), b"b").unwrap();
        assert_eq!(payloads(&output), [b"<b".as_slice(), b"a"]);
        assert_eq!(
            (
                output[0].info.number,
                output[0].info.size,
                output[0].info.lead_high >> 48
            ),
            (1, 2, 0x3c62)
        );
    }

    #[test]
    fn a_replaced_filter_hands_over_its_state_and_emits_what_it_held() {
        let mut stream = Stream::open(Swap::default(), publication("cam", [h264(1)])).unwrap();
        stream.push(key(1, 0), b"a").unwrap();
        let output = stream.replace(configure("").unwrap()).unwrap();
        assert_eq!(payloads(&output), [b"a"]);
        let (output, filter) = stream.close(CloseReason::Ended);
        assert!(output.is_empty());
        assert_eq!(filter.count, 1);
        let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "closed: CloseReason::Reload after 1",
                "closed: CloseReason::Ended after 1"
            ]
        );
    }

    #[test]
    fn frames_are_not_at_hand_outside_a_call() {
        assert!(Frame::new(key(1, 0)).payload().is_empty());
        assert_eq!(Frame::new(key(1, 0)).splice(&[]).unwrap_err(), FrameError::NoFrame);
        assert_eq!(emit(key(1, 0), &[]).unwrap_err(), FrameError::NoFrame);
        assert_eq!(Frame::new(key(1, 0)).hold().unwrap_err(), FrameError::NoFrame);
    }

    /// Asks for what its interests say and looks at the bytes.
    struct Look(Vec<Interest>);

    impl Plugin for Look {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, Error> {
            Ok(Self(Vec::new()))
        }
    }

    impl Filter for Look {
        fn open(&mut self, _: Publication) -> Result<crate::filter::Opening, Error> {
            Ok(crate::filter::Opening::with(self.0.drain(..)))
        }

        fn frame(&mut self, frame: &Frame) -> Verdict {
            assert_eq!(frame.read(1..3), b"ay");
            assert_eq!(frame.read(4..u32::MAX), b"oad");
            assert_eq!(&frame.lead()[..8], b"payload\0");
            assert_eq!(frame.splice(&[Part::Original(0..8)]).unwrap_err(), FrameError::Range);
            frame.splice(&[Part::Bytes(b"re"), Part::Original(0..4)]).unwrap();
            Verdict::Pass
        }
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let interests = vec![Interest::keyframes(1).every(2).drop_others()];
        let mut stream = Stream::open(Look(interests), publication("cam", [h264(1), opus(2)])).unwrap();
        let mut push = |info| stream.push(info, b"payload").unwrap();
        assert_eq!(payloads(&push(key(1, 0))), [b"repayl"]);
        assert!(push(delta(1, 1)).is_empty());
        assert!(push(key(1, 2)).is_empty());
        assert_eq!(push(key(1, 3)).len(), 1);
        assert_eq!(
            payloads(&push(key(2, 0))),
            [b"payload"],
            "a track without interest passes unseen"
        );
        assert_eq!(stream.shown(), 2);
    }
}
