//! The `filter` role: frames of one stream on their way from the publisher to everybody else.
//!
//! A filter runs inline, before the stream fans out, so its time is added to every frame's latency: a call should take microseconds, and is
//! ended after a few milliseconds. Ask for as little as possible in [`Filter::open`]: a frame that is not shown costs nothing.

pub use crate::bindings::filter::exports::wasmtx::plugin::filter::{Opening, Verdict};
pub use crate::interest::{Interest, Unshown, Which};
use crate::{CloseReason, Error, Frame, Plugin, Publication, Track};

/// What a filter does.
pub trait Filter: Plugin {
    /// The stream starts, or its tracks changed. Answers which frames to show and, if that changes, which tracks go on. By default all
    /// frames of all tracks are shown and the tracks stay. An error applies the plugin's `onError` policy to the stream.
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        Ok(Opening::all(&publication.tracks))
    }

    /// One frame that was asked for. [`Verdict::Pass`] sends it on (changed, if [`Frame::splice`] was called), [`Verdict::Drop`] forgets it,
    /// [`Verdict::Close`] ends the publication.
    fn frame(&mut self, frame: &Frame) -> Verdict {
        let _ = frame;
        Verdict::Pass
    }

    /// The stream ends, or this instance is about to be replaced. [`emit`](crate::emit) still works.
    fn close(&mut self, reason: CloseReason) {
        let _ = reason;
    }
}

impl Opening {
    /// Shows every frame of every track and leaves the tracks as they are.
    pub fn all(tracks: &[Track]) -> Self {
        Self::with(tracks.iter().map(|track| Interest::all(track.id)))
    }

    /// Shows what these interests say; a track without one passes unseen. Leaves the tracks as they are.
    pub fn with(interests: impl IntoIterator<Item = Interest>) -> Self {
        Self {
            interests: interests.into_iter().collect(),
            tracks: None,
        }
    }

    /// Announces these tracks to whoever comes next in the chain and to the readers: fewer, or with other parameters under the same ids.
    /// Frames of a track that is left out go nowhere; give it [`Interest::discard`] so that they cost nothing.
    pub fn announcing(self, tracks: Vec<Track>) -> Self {
        Self {
            tracks: Some(tracks),
            ..self
        }
    }
}
