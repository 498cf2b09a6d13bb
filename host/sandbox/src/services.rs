//! What guests reach outside of the sandbox, as the server provides it.
//!
//! Nothing here opens a socket or a file: the sandbox checks what a guest says and what it was granted, and hands the rest
//! over. What a plugin may reach is fixed when a version of it is loaded ([`Http::client`], [`Storage::directory`]), so a
//! grant that cannot work is an error at load and not at the first call.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtx_hub::{Events, PathName};
use wasmtx_media::{Codec, Frame, Track, WallClock};

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
    /// For the interface `recording`.
    pub recordings: Arc<dyn Recordings>,
    /// For the interface `clock`.
    pub clock: Arc<dyn Clock>,
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
            recordings: Arc::new(()),
            clock: Arc::new(()),
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

/// Where a plugin, or one use of it, may keep files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageGrant {
    /// Where they are.
    pub place: Place,
    /// Bytes of all files there together; none for no bound.
    pub quota: Option<u64>,
    /// What is left free on the disk.
    pub min_free: MinFree,
    /// Whether other users of the machine may read the files, as far as the server's umask lets them.
    pub public: bool,
}

impl StorageGrant {
    /// What a plugin's entry grants: files that are nobody else's business.
    pub fn private(place: Place, quota: u64) -> StorageGrant {
        StorageGrant {
            place,
            quota: Some(quota),
            min_free: MinFree::Usual,
            public: false,
        }
    }

    /// What a recording needs: as much as the disk has, and readable by others.
    pub fn recordings(place: Place) -> StorageGrant {
        StorageGrant {
            place,
            quota: None,
            min_free: MinFree::Usual,
            public: true,
        }
    }
}

/// Where files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below a directory of the machine.
    Directory(PathBuf),
    /// Below a prefix of an object store, as a URL without credentials: `s3://bucket/prefix`.
    Objects(String),
}

impl Place {
    /// Where a file is, for who has only one text to say it: a hook, an event.
    pub fn file(&self, name: &str) -> String {
        match self {
            Place::Directory(directory) => directory.join(name).display().to_string(),
            Place::Objects(url) => format!("{}/{name}", url.trim_end_matches('/')),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(directory) => directory.display().fmt(f),
            Place::Objects(url) => f.write_str(url),
        }
    }
}

/// How much of a disk stays free: below it, it counts as full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinFree {
    /// A gibibyte, or 2 % of a smaller disk.
    #[default]
    Usual,
    /// So many bytes; with 0 the last one may be used.
    Bytes(u64),
}

/// Opens directories for plugins.
pub trait Storage: Send + Sync {
    /// The place, made when it is missing.
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

/// Learns of recordings, in the order of what happens to each file. Called on tasks that run guests: nothing here waits.
pub trait Recordings: Send + Sync {
    /// A file is being written.
    fn started(&self, told: &SegmentTold);

    /// A file is finished; all of it is on the disk.
    fn done(&self, told: &SegmentTold);

    /// Who was writing a file is gone without having finished it. What it had appended is written, as far as that was possible; how
    /// long it is nobody knows.
    fn left(&self, told: &SegmentTold);
}

/// A file of a recording, as the plugin that writes it says. The stream and the plugin are the host's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTold {
    /// The recorded path.
    pub path: PathName,
    /// The plugin, by its name in the configuration.
    pub plugin: Arc<str>,
    /// Where the files of this use are.
    pub place: Place,
    /// Its name there.
    pub file: String,
    /// When its first frame was taken.
    pub start: WallClock,
    /// Microseconds; 0 unless it is finished.
    pub duration: u64,
    /// Bytes; 0 unless it is finished.
    pub size: u64,
}

/// Knows the time zone of the server.
pub trait Clock: Send + Sync {
    /// Seconds that local time is ahead of UTC, at a moment.
    fn offset(&self, at: WallClock) -> i32;
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

impl Recordings for () {
    fn started(&self, _told: &SegmentTold) {}

    fn done(&self, _told: &SegmentTold) {}

    fn left(&self, _told: &SegmentTold) {}
}

/// Everybody lives in Greenwich, in winter.
impl Clock for () {
    fn offset(&self, _at: WallClock) -> i32 {
        0
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
