//! A stream read by one sink, as the server runs it: interests, batches with or without bytes, and the swap.

use super::stream::{Shown, described};
use crate::sink::{Item, Sink, Wants};
use crate::{CloseReason, Error, FrameInfo, Held, Publication, host};

/// A sink at its place in a stream.
#[derive(Debug)]
pub struct Reader<S> {
    sink: S,
    publication: Publication,
    bytes: bool,
    shown: Shown,
}

impl<S: Sink> Reader<S> {
    /// The stream starts.
    pub fn open(mut sink: S, publication: Publication) -> Result<Self, Error> {
        let Wants { interests, bytes } = sink.open(publication.clone())?;
        Ok(Self {
            sink,
            publication,
            bytes,
            shown: Shown::new(interests),
        })
    }

    /// These frames came since the last batch. The sink is given those that it asked for in one call, or is not called if there are none.
    pub fn push<'a>(&mut self, frames: impl IntoIterator<Item = (FrameInfo, &'a [u8])>) -> Result<(), Error> {
        let frames = frames
            .into_iter()
            .map(|(info, payload)| (described(info, payload), payload))
            .filter(|(info, _)| self.shown.wants(info))
            .collect::<Vec<_>>();
        if frames.is_empty() {
            return Ok(());
        }
        if !self.bytes {
            return self.sink.infos(frames.into_iter().map(|(info, _)| info).collect());
        }
        let item = |(info, payload)| Item {
            info,
            data: Held(host::Held::new(payload)),
        };
        self.sink.frames(frames.into_iter().map(item).collect())
    }

    /// How many frames the sink was given.
    pub fn shown(&self) -> u64 {
        self.shown.count()
    }

    /// The sink, to look at.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Puts another instance in the place of this one, as when the plugin's file changed: opened, given the saved state, the old one closed. The old one
    /// stays where it was if `open` or `restore` fails, but for [`Error::Unsupported`].
    pub fn replace(&mut self, mut sink: S) -> Result<(), Error> {
        let Wants { interests, bytes } = sink.open(self.publication.clone())?;
        super::stream::hand_over(&self.sink, &mut sink)?;
        self.sink.close(CloseReason::Reload);
        self.sink = sink;
        self.bytes = bytes;
        self.shown.renew(interests);
        Ok(())
    }

    /// The stream ends. Returns the sink, to look at.
    pub fn close(mut self, reason: CloseReason) -> S {
        self.sink.close(reason);
        self.sink
    }
}
