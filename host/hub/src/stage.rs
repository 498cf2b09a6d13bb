//! The seam "what happens to a frame on the way": called on the publisher's task, before the stream fans out.

use std::{sync::Arc, time::Instant};

use wasmtx_media::{Frame, Tracks};

use crate::{Client, CloseReason, Demand, PathName};

/// The beginning of a stream as a stage sees it.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Where the stream is published.
    pub path: PathName,
    /// Grows when the set of tracks or a codec changes.
    pub generation: u32,
    /// Who publishes; `None` for a source that the server opened.
    pub publisher: Option<Arc<Client>>,
    /// The URL of a source that the server opened, without credentials.
    pub source: Option<String>,
    /// What the publisher sends.
    pub tracks: Tracks,
}

/// Why a stage does not let a stream begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage} refuses the stream: {reason}")]
pub struct Refusal {
    /// Which stage, as the configuration names it.
    pub stage: String,
    /// Its words.
    pub reason: String,
}

/// What a stage hands on. The hub owns it and reuses it, so that a passing frame allocates nothing.
#[derive(Debug, Default)]
pub struct Output {
    /// New tracks, in force before `frames`. Ids and codecs must be those in force or the generation grows.
    pub tracks: Option<Tracks>,
    /// Frames for the next stage or the readers, in order.
    pub frames: Vec<Frame>,
    /// Which of the tracks in force the readers want. A stage that adds a track need not make it while nobody does.
    pub demand: Demand,
}

/// Whether the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// Close the publisher; the text says which stage and why.
    Close(String),
}

/// Sees every frame of one publication, in order, synchronously. One instance serves one publication.
pub trait Stage: Send {
    /// The stream begins, or its tracks changed. Answers what the readers see.
    ///
    /// # Errors
    /// [`Refusal`] ends the publication before a reader has seen it.
    fn open(&mut self, now: Instant, opening: &Opening) -> Result<Tracks, Refusal>;

    /// One frame. What is pushed to `output` goes on; nothing pushed means the frame is dropped.
    fn frame(&mut self, now: Instant, frame: Frame, output: &mut Output) -> Flow;

    /// The stream ends; frames that were held back may still be pushed.
    fn close(&mut self, now: Instant, reason: CloseReason, output: &mut Output);
}

/// Makes a stage for each publication of a path. Held in the path's configuration; none there, nothing paid.
pub trait Stages: Send + Sync {
    /// A fresh stage for a publication on `path`.
    ///
    /// # Errors
    /// [`Refusal`] when the stage cannot be made and its policy is to refuse the stream.
    fn stage(&self, path: &PathName) -> Result<Box<dyn Stage>, Refusal>;
}
