//! The `filter` role: frames of one stream on their way from the publisher to everybody else.
//!
//! A filter runs inline, before the stream fans out, so its time is added to every frame's latency: a call should take microseconds, and is
//! ended after a few milliseconds. Ask for as little as possible in [`Filter::open`]: a frame that is not shown costs nothing. A filter may use
//! [`kv`](crate::kv), which answers at once; [`http`](crate::http) and [`storage`](crate::storage) would wait and answer `not-granted`.
//!
//! ```
//! use wasmtx_plugin::filter::{Filter, Interest, Opening, Verdict};
//! use wasmtx_plugin::{Error, Frame, NoConfig, Part, Plugin, Publication};
//!
//! /// Writes the path's name into every H264 keyframe: an SEI message, "user data unregistered".
//! struct Label {
//!     sei: Vec<u8>,
//! }
//!
//! impl Plugin for Label {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Label { sei: Vec::new() })
//!     }
//! }
//!
//! impl Filter for Label {
//!     fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
//!         // Of a name that is too long for one length byte, the beginning will do.
//!         let name = &publication.path.as_bytes()[..publication.path.len().min(200)];
//!         let unit = [&[6, 5, 16 + name.len() as u8][..], b"wasmtx path name", name, &[0x80]].concat();
//!         self.sei = [&(unit.len() as u32).to_be_bytes()[..], &unit].concat();
//!         let pictures = publication.tracks.iter().filter(|track| track.codec == "H264");
//!         Ok(Opening::with(pictures.map(|track| Interest::keyframes(track.id))))
//!     }
//!
//!     fn frame(&mut self, frame: &Frame) -> Verdict {
//!         // A frame that cannot be changed passes as it is.
//!         let _ = frame.splice(&[Part::Bytes(&self.sei), Part::Original(0..frame.size)]);
//!         Verdict::Pass
//!     }
//! }
//!
//! wasmtx_plugin::export!(Label: filter);
//! # fn main() {
//! # use wasmtx_plugin::testing::{Stream, configure, delta, h264, key, publication};
//! # let mut stream = Stream::open(configure::<Label>("").unwrap(), publication("hall", [h264(1)])).unwrap();
//! # let labelled = stream.push(key(1, 0), b"\0\0\0\x02\x65!").unwrap();
//! # assert_eq!(labelled[0].payload, b"\0\0\0\x18\x06\x05\x14wasmtx path namehall\x80\0\0\0\x02\x65!");
//! # assert_eq!(stream.push(delta(1, 1), b"picture").unwrap()[0].payload, b"picture");
//! # }
//! ```

/// How a filter wants to see a stream, made by its functions.
///
pub use crate::bindings::filter::exports::wasmtx::plugin::filter::Opening;
pub use crate::bindings::filter::exports::wasmtx::plugin::filter::Verdict;
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
