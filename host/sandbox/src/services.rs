//! What guests reach outside of the sandbox, as the server provides it.
//!
//! Nothing here opens a socket or a file: the sandbox checks what a guest says and what it was granted, and hands the rest
//! over. What a plugin may reach is fixed when a version of it is loaded ([`Http::client`], [`Storage::directory`]), so a
//! grant that cannot work is an error at load and not at the first call.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtx_hub::Events;
use wasmtx_media::{Codec, Frame, Track};

use crate::{Compiling, Target};

/// The outside of a registry. Cheap to clone. The default has nothing in it: whatever is granted, guests are told that
/// it is not.
#[derive(Clone)]
#[non_exhaustive]
pub struct Services {
    /// For the interface `http`.
    pub http: Arc<dyn Http>,
    /// For the interface `storage`.
    pub storage: Arc<dyn Storage>,
    /// For the interface `control`.
    pub control: Arc<dyn Control>,
    /// For the plans of transcoders.
    pub codecs: Arc<dyn Codecs>,
    /// Where it is noted what plugins raise, and what becomes of them.
    pub events: Events,
    /// Where components become machine code.
    pub compiling: Compiling,
}

impl Default for Services {
    fn default() -> Services {
        Services {
            http: Arc::new(()),
            storage: Arc::new(()),
            control: Arc::new(()),
            codecs: Arc::new(NoCodecs("this server cannot re-encode")),
            events: Events::default(),
            compiling: Compiling::default(),
        }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// Makes clients for plugins.
pub trait Http: Send + Sync {
    /// A client that reaches what `allowed` names and nothing else: hosts, URL prefixes, address ranges.
    ///
    /// # Errors
    /// The entry that makes no sense, in one sentence.
    fn client(&self, allowed: &[String], bounds: HttpBounds) -> Result<Arc<dyn HttpClient>, String>;
}

/// What one client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpBounds {
    /// Requests at once; further ones wait, within their own time.
    pub at_once: usize,
    /// Bytes of the body of a request, and of an answer.
    pub body: usize,
}

/// What one version of a plugin may reach.
pub trait HttpClient: Send + Sync {
    /// Sends one request and waits for the whole answer, for `timeout` at most. Redirects are followed and checked
    /// again.
    fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> BoxFuture<'_, HttpResult>;
}

/// A response with its body.
pub type HttpResult = Result<http::Response<Bytes>, HttpError>;

/// Why there is no response. The words of `http-error` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address is outside of what was granted.
    #[error("not granted")]
    NotGranted,
    /// The address may not be reached, or nobody listens there.
    #[error("refused")]
    Refused,
    /// No whole answer in time.
    #[error("timeout")]
    Timeout,
    /// The request or the answer is larger than a plugin's may be.
    #[error("too large")]
    TooLarge,
    /// The other side's certificate is not one to trust.
    #[error("tls")]
    Tls,
    /// Anything else.
    #[error("other")]
    Other,
}

/// A directory that a plugin was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageGrant {
    /// Where it is.
    pub directory: PathBuf,
    /// Bytes of all files below it together.
    pub quota: u64,
}

/// Opens directories for plugins.
pub trait Storage: Send + Sync {
    /// The directory, made when it is missing.
    ///
    /// # Errors
    /// Why it cannot be had, in one sentence.
    fn directory(&self, grant: &StorageGrant) -> Result<Arc<dyn Directory>, String>;
}

/// The files of one plugin. Every call may wait for a disk: never called on the media path. Names are checked here: no name
/// leads out of the directory.
pub trait Directory: Send + Sync {
    /// A new, empty file, open for appending, in place of one that has the name already.
    #[allow(missing_docs, reason = "errors are those of `storage-error` in the contract")]
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError>;
    /// A part of a file, cut to what is there.
    fn read(&self, name: &str, offset: u64, len: u32) -> Result<Bytes, StorageError>;
    /// The files whose names begin with `prefix`.
    fn list(&self, prefix: &str) -> Result<Vec<Stored>, StorageError>;
    /// Gives a file another name, in place of a file that had it.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<(), StorageError>;
}

/// A file that is being written, visible under its name from the start. Dropped without [`finish`](Append::finish), it keeps
/// what was appended.
pub trait Append: Send {
    /// Adds bytes at the end, one part after the other, and lets other programs see them; answers the length then.
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError>;
    /// What was appended survives a power cut once this returns; answers the durable length.
    fn commit(&mut self) -> Result<u64, StorageError>;
    /// Commits and closes.
    fn finish(&mut self) -> Result<u64, StorageError>;
}

/// A file as `storage.list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name below the directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Microseconds since 1970.
    pub modified: u64,
}

/// Why a file could not be used. The words of `storage-error` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The plugin has no directory, or the name is none of its.
    #[error("not granted")]
    NotGranted,
    /// The plugin has as much there as it may.
    #[error("quota")]
    Quota,
    /// The disk is full.
    #[error("full")]
    Full,
    /// There is no such file.
    #[error("not found")]
    NotFound,
    /// The disk says no.
    #[error("io")]
    Io,
}

/// Acts on streams and sessions for plugins that were granted it.
pub trait Control: Send + Sync {
    /// Asks the publisher of a path for a keyframe, if `caller` may.
    fn request_keyframe(&self, caller: &Caller, path: &str);
    /// Ends a session, if `caller` may.
    fn kick(&self, caller: &Caller, session: &str, reason: &str);
}

/// The plugin that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name in the configuration.
    pub plugin: Arc<str>,
    /// Whether it may act on paths that do not use it (`control: all`).
    pub everywhere: bool,
}

/// Makes tracks of one form from tracks of another.
pub trait Codecs: Send + Sync {
    /// Whether anything can be re-encoded at all.
    ///
    /// # Errors
    /// Why not, in one sentence.
    fn ready(&self) -> Result<(), String>;

    /// What a track would be in the form that is asked for. Starts nothing.
    ///
    /// # Errors
    /// Why it cannot be had, in one sentence.
    fn form(&self, source: &Track, target: &Target) -> Result<Form, String>;

    /// Begins to make a track of `source`, for the stream on `path`. Never waits: what can fail fails later, and is
    /// tried again.
    fn open(&self, path: &str, source: &Track, form: &Form) -> Box<dyn Converter>;
}

/// What a track is in another form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The codec with its configuration.
    pub codec: Codec,
    /// Ticks per second of its timestamps; never 0.
    pub clock_rate: u32,
    /// Bits per second; 0 where the codec has none.
    pub bitrate: u32,
}

/// Makes one track of another. Called on the publisher's task: nothing here waits. What it works with ends when it is
/// dropped.
pub trait Converter: Send {
    /// Takes the next frame of the source. After a frame that could not be taken the next one is marked as a discontinuity.
    /// Answers whether it took it: it does not where it has as much to do as it may.
    fn push(&mut self, frame: &Frame) -> bool;

    /// The next frame that is ready, in the time of the source: its timestamps, in ticks of the form's clock, name the
    /// same instants. Track, number and wall clock are the caller's to fill in.
    fn pull(&mut self) -> Option<Frame>;

    /// No more frames come: what is inside may come out.
    fn finish(&mut self);

    /// What went wrong so far.
    fn report(&self) -> Report;
}

/// What went wrong with a conversion since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames of the source that came to nothing, those that were not taken among them.
    pub lost: u64,
    /// Times that its codec was started again after a failure.
    pub restarts: u64,
}

impl Http for () {
    fn client(&self, _allowed: &[String], _bounds: HttpBounds) -> Result<Arc<dyn HttpClient>, String> {
        Ok(Arc::new(()))
    }
}

impl HttpClient for () {
    fn send(&self, _request: http::Request<Bytes>, _timeout: Duration) -> BoxFuture<'_, HttpResult> {
        Box::pin(async { Err(HttpError::NotGranted) })
    }
}

impl Storage for () {
    fn directory(&self, _grant: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        Err("this server has no storage for plugins".to_owned())
    }
}

impl Control for () {
    fn request_keyframe(&self, _caller: &Caller, _path: &str) {}

    fn kick(&self, _caller: &Caller, _session: &str, _reason: &str) {}
}

/// No codecs at all, and why, in one sentence.
#[derive(Clone, Copy, Debug)]
pub struct NoCodecs(pub &'static str);

impl Codecs for NoCodecs {
    fn ready(&self) -> Result<(), String> {
        Err(self.0.to_owned())
    }

    fn form(&self, _source: &Track, _target: &Target) -> Result<Form, String> {
        Err(self.0.to_owned())
    }

    fn open(&self, _path: &str, _source: &Track, _form: &Form) -> Box<dyn Converter> {
        Box::new(())
    }
}

impl Converter for () {
    fn push(&mut self, _frame: &Frame) -> bool {
        false
    }

    fn pull(&mut self) -> Option<Frame> {
        None
    }

    fn finish(&mut self) {}

    fn report(&self) -> Report {
        Report::default()
    }
}
