//! The `transcoder` role: which tracks of a stream are coded anew, and how. The codec work is the server's.
//!
//! Asked off the media path when a stream starts and when its tracks change, after the filters. An added track is offered at once and coded only
//! while somebody reads it. A plugin that fails leaves the tracks as they are.
//!
//! ```
//! use wasmtx_plugin::transcoder::{Plan, Target, Transcoder};
//! use wasmtx_plugin::{Error, NoConfig, Plugin, Publication};
//!
//! /// Browsers play Opus: offers it beside what cameras send.
//! struct ForBrowsers;
//!
//! impl Plugin for ForBrowsers {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(ForBrowsers)
//!     }
//! }
//!
//! impl Transcoder for ForBrowsers {
//!     fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error> {
//!         let sound = publication.tracks.iter().filter(|track| track.codec == "MPEG-4 Audio");
//!         let opus = || Target::codec("Opus").bitrate(96_000).sample_rate(48_000);
//!         Ok(sound.map(|track| (track.id, Plan::Add(opus()))).collect())
//!     }
//! }
//!
//! wasmtx_plugin::export!(ForBrowsers: transcoder);
//! # fn main() {
//! # use wasmtx_plugin::testing::{configure, h264, opus, publication, transcoded};
//! # let aac = wasmtx_plugin::Track { codec: "MPEG-4 Audio".into(), sample_rate: 44_100, ..opus(2) };
//! # let tracks = transcoded(&mut configure::<ForBrowsers>("").unwrap(), publication("cam", [h264(1), aac])).unwrap();
//! # let offered: Vec<_> = tracks.iter().map(|track| (track.id, track.codec.as_str(), track.sample_rate)).collect();
//! # assert_eq!(offered, [(1, "H264", 0), (2, "MPEG-4 Audio", 44_100), (3, "Opus", 48_000)]);
//! # }
//! ```

pub use crate::bindings::transcoder::exports::wasmtx::plugin::transcoder::Plan;
/// How a track is to be coded, made by its functions. Zeros, and an empty `codec`, mean: as the source.
///
pub use crate::bindings::transcoder::exports::wasmtx::plugin::transcoder::Target;
use crate::{Error, Plugin, Publication};

/// What a transcoder plugin does.
pub trait Transcoder: Plugin {
    /// What becomes of each track, by [`Track::id`](crate::Track::id). A track that is not named is [kept](Plan::Keep); one that is
    /// [added](Plan::Add) to may be named several times, once for each addition.
    fn decide(&mut self, publication: Publication) -> Result<Vec<(u32, Plan)>, Error>;
}

impl Target {
    /// This codec, by the name the server's API shows ("H264", "Opus", "MPEG-4 Audio"), all else as the source has it.
    pub fn codec(name: impl Into<String>) -> Self {
        Self {
            codec: name.into(),
            bitrate: 0,
            width: 0,
            height: 0,
            channels: 0,
            sample_rate: 0,
        }
    }

    /// Bits per second.
    pub fn bitrate(self, bits: u32) -> Self {
        Self { bitrate: bits, ..self }
    }

    /// Pixels. One of the two may be 0: it then follows the other, in the source's proportion.
    pub fn size(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// Number of channels of sound.
    pub fn channels(self, channels: u32) -> Self {
        Self { channels, ..self }
    }

    /// Samples of sound per second.
    pub fn sample_rate(self, rate: u32) -> Self {
        Self {
            sample_rate: rate,
            ..self
        }
    }
}
