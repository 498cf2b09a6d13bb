//! Which frames of a track a filter or a sink is shown. What is not shown costs nothing.

/// Which frames of one track to show, made by its functions: `Interest::keyframes(id).every(2)`.
///
pub use crate::bindings::imports::wasmtx::plugin::types::Interest;
/// What becomes of frames that a filter is not shown: they `Pass`, or the server `Drop`s them.
pub use crate::bindings::imports::wasmtx::plugin::types::Unshown;
/// Frames of a track: `None`, those where decoding can start (`Key`), or `All`.
pub use crate::bindings::imports::wasmtx::plugin::types::Which;

impl Interest {
    /// Every frame of the track.
    pub fn all(track: u32) -> Self {
        Self {
            track,
            which: Which::All,
            every: 1,
            others: Unshown::Pass,
        }
    }

    /// The track's keyframes; the frames between them pass unseen.
    pub fn keyframes(track: u32) -> Self {
        Self {
            which: Which::Key,
            ..Self::all(track)
        }
    }

    /// Nothing is shown, everything passes.
    pub fn pass(track: u32) -> Self {
        Self {
            which: Which::None,
            ..Self::all(track)
        }
    }

    /// Nothing is shown, nothing passes.
    pub fn discard(track: u32) -> Self {
        Self {
            others: Unshown::Drop,
            ..Self::pass(track)
        }
    }

    /// Of the frames chosen so far only each `n`-th is shown (1: each), beginning with the first.
    pub fn every(self, n: u32) -> Self {
        Self { every: n, ..self }
    }

    /// What is not shown is dropped instead of passed on.
    pub fn drop_others(self) -> Self {
        Self {
            others: Unshown::Drop,
            ..self
        }
    }
}
