//! The `sink` role: a reader of a stream inside the server, off the media path, for whoever stores, measures or forwards frames.
//!
//! A sink reads at its own pace, in batches (about twenty a second), and may wait for [`http`](crate::http), [`kv`](crate::kv) and [`storage`](crate::storage). It delays
//! nobody. One that falls too far behind loses frames, as any reader: the server jumps to the newest keyframe, and the first frame after the gap
//! [is marked](FrameInfo::is_discontinuous). It sees what the readers see, after the filters.
//!
//! ```
//! use wasmtx_plugin::sink::{Interest, Item, Sink, Wants};
//! use wasmtx_plugin::storage::{self, File};
//! use wasmtx_plugin::{Error, NoConfig, Plugin, Publication};
//!
//! /// Keeps the newest picture of M-JPEG cameras as `<path>.jpg`.
//! struct Newest {
//!     name: String,
//! }
//!
//! impl Plugin for Newest {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Newest { name: String::new() })
//!     }
//! }
//!
//! impl Sink for Newest {
//!     fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
//!         self.name = publication.path;
//!         let pictures = publication.tracks.iter().filter(|track| track.codec == "M-JPEG");
//!         Ok(Wants::with(pictures.map(|track| Interest::all(track.id).every(100))))
//!     }
//!
//!     fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
//!         let Some(newest) = batch.last() else { return Ok(()) };
//!         // Whole or not at all: whoever looks never sees half a picture.
//!         let fresh = format!("{}.new", self.name);
//!         let mut file = File::create(&fresh)?;
//!         file.append_held(&newest.data)?;
//!         file.finish()?;
//!         storage::rename(&fresh, &format!("{}.jpg", self.name))?;
//!         Ok(())
//!     }
//! }
//!
//! wasmtx_plugin::export!(Newest: sink);
//! # fn main() {
//! # use wasmtx_plugin::testing::{Reader, configure, h264, key, publication};
//! # let camera = wasmtx_plugin::Track { codec: "M-JPEG".into(), ..h264(1) };
//! # let mut reader = Reader::open(configure::<Newest>("").unwrap(), publication("door", [camera])).unwrap();
//! # reader.push((0..150).map(|number| (key(1, number), if number == 100 { b"new" } else { b"old" }.as_slice()))).unwrap();
//! # assert_eq!(storage::read("door.jpg", 0, 99).unwrap(), b"new");
//! # assert_eq!(storage::list("").unwrap().len(), 1);
//! # }
//! ```

use std::ops::{Deref, Range};

use crate::bindings::sink::exports::wasmtx::plugin::sink;
pub use crate::interest::{Interest, Which};
use crate::{CloseReason, Error, FrameInfo, Held, Plugin, Publication, Track};

/// What a sink wants to be given, made by its functions.
///
pub use sink::Wants;

/// What a sink does. One instance per stream.
pub trait Sink: Plugin {
    /// The stream starts, or its tracks changed. Answers which frames to hand over, and whether with their bytes. By default all frames of all
    /// tracks, with bytes. An error ends the sink's work on this stream, as the plugin's `onError` says.
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        Ok(Wants::all(&publication.tracks))
    }

    /// The next frames, in order, when bytes were asked for: at least one, more when the sink was busy. An item that is kept stays in the server's
    /// memory and counts against the plugin's quota of frames and bytes; what is dropped is free. An error counts as a failure of the plugin.
    fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        drop(batch);
        Ok(())
    }

    /// The next frames, in order, when [no bytes](Wants::without_bytes) were asked for.
    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        let _ = batch;
        Ok(())
    }

    /// The stream ends, or this instance is about to be replaced. The last call: write what is still to be written.
    fn close(&mut self, reason: CloseReason) {
        let _ = reason;
    }
}

/// One frame of a batch. Dereferences to its metadata.
#[derive(Debug)]
pub struct Item {
    /// What it is.
    pub info: FrameInfo,
    /// Its bytes, in the server until they are read. [`storage::File::append_held`](crate::storage::File::append_held) writes them to a file without
    /// a copy here.
    pub data: Held,
}

impl Item {
    /// Copies a range of the payload here. A range past the end reads as less, or nothing.
    pub fn read(&self, range: Range<u32>) -> Vec<u8> {
        self.data.read(range)
    }

    /// Copies the whole payload here.
    pub fn payload(&self) -> Vec<u8> {
        self.read(0..self.info.size)
    }
}

impl Deref for Item {
    type Target = FrameInfo;

    fn deref(&self) -> &FrameInfo {
        &self.info
    }
}

impl From<sink::Item> for Item {
    fn from(item: sink::Item) -> Self {
        Self {
            info: item.info,
            data: Held(item.data.into()),
        }
    }
}

impl Wants {
    /// Every frame of every track, with bytes.
    pub fn all(tracks: &[Track]) -> Self {
        Self::with(tracks.iter().map(|track| Interest::all(track.id)))
    }

    /// What these interests say, with bytes; a track without one is not handed over. What an interest says of the other frames means nothing here:
    /// a sink stops nobody from seeing them.
    pub fn with(interests: impl IntoIterator<Item = Interest>) -> Self {
        Self {
            interests: interests.into_iter().collect(),
            bytes: true,
        }
    }

    /// Sizes, times and first bytes are enough: [`Sink::infos`] is called instead of [`Sink::frames`], and the server keeps no bytes for it.
    pub fn without_bytes(self) -> Self {
        Self { bytes: false, ..self }
    }
}
