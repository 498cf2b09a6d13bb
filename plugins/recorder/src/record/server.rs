//! What a recorder asks of whoever runs it.

use bytes::Bytes;
use wasmtx_media::container::mp4;

/// Why files cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no room left.
    Full,
    /// There is room, but not for this.
    Quota,
    /// Nobody said where to.
    NotGranted,
    /// Anything else that a disk can say.
    Io,
}

/// What happened, for logs, metrics and events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told<'a> {
    /// A part is on the disk.
    Part {
        /// Of it.
        bytes: u64,
        /// The wall clock of its last frame; 0 when nobody knows it.
        wall: u64,
    },
    /// A file begins with the part that was just written.
    Started {
        /// Its name.
        file: &'a str,
        /// The wall clock of its first frame.
        start: u64,
    },
    /// A file is whole.
    Done {
        /// Its name.
        file: &'a str,
        /// The wall clock of its first frame.
        start: u64,
        /// What it shows, in microseconds.
        duration: u64,
    },
    /// Nothing is written from now on, until [`Told::Resumed`].
    Suspended(Trouble),
    /// It is again.
    Resumed,
    /// Something that an operator should know.
    Warning(&'a str),
}

/// The server around a recorder. Times are in microseconds.
pub(crate) trait Server {
    /// What stands for the bytes of a frame.
    type Payload: mp4::Body + From<Bytes>;
    /// A file that is being written.
    type File;

    /// Since 1970; jumps when the clock is set.
    fn now(&self) -> u64;
    /// Since some start; never jumps.
    fn monotonic(&self) -> u64;
    /// How many seconds local time is ahead of UTC at that moment.
    fn offset(&self, at: u64) -> i32;
    /// Names a recording: no two are the same.
    fn identity(&self) -> [u8; 16];
    /// The bytes of a payload, if they are here already.
    fn here<'a>(&self, payload: &'a Self::Payload) -> Option<&'a [u8]>;
    /// The bytes of a payload, wherever they are.
    fn bytes(&self, payload: &Self::Payload) -> Bytes;

    /// Whether there is no file of this name.
    fn is_free(&self, name: &str) -> Result<bool, Trouble>;
    /// A new file, and the directories that lead to it.
    fn create(&self, name: &str) -> Result<Self::File, Trouble>;
    /// Adds bytes.
    fn append(&self, file: &mut Self::File, bytes: &[u8]) -> Result<(), Trouble>;
    /// Adds a frame.
    fn append_payload(&self, file: &mut Self::File, payload: &Self::Payload) -> Result<(), Trouble>;
    /// Returns when what was added would survive a power cut.
    fn commit(&self, file: &mut Self::File) -> Result<(), Trouble>;
    /// Nothing more is added.
    fn finish(&self, file: Self::File) -> Result<(), Trouble>;
    /// Away with a file of which nothing is worth keeping.
    fn remove(&self, name: &str);

    /// Says what happened.
    fn tell(&self, told: Told<'_>);
}
