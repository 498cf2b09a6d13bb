//! What the tests stand on: the server as a child process, players as child processes, clips, and a reader that keeps
//! every frame.

mod backend;
mod clip;
mod flv;
mod folder;
mod frames;
mod http;
mod mount;
mod player;
mod project;
mod publisher;
mod reader;
mod rtmp;
mod server;
mod session;
mod tool;
mod viewer;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub(crate) use backend::{Asked, Backend, Reply};
pub(crate) use clip::{Clip, Codec, TONE};
pub(crate) use flv::Tag;
pub(crate) use folder::Folder;
pub(crate) use frames::{Packet, assert_run, decoded_hashes, hash, hashes_of};
pub(crate) use http::{get_bytes, request, send};
pub(crate) use mount::Mount;
pub(crate) use player::{Player, Transport};
pub(crate) use project::{Project, root};
pub(crate) use publisher::{Publisher, made_up, number_of};
pub(crate) use reader::Reader;
pub(crate) use rtmp::Rtmp;
pub(crate) use server::{Server, binary, command, fingerprint, plugin};
pub(crate) use session::{Login, Session};
pub(crate) use tool::{Tool, run};
pub(crate) use viewer::Viewer;

/// After this time, something that should have happened will not happen any more. Long, because the machine may be busy
/// with other tests; nothing waits for its end unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration in which everybody may do everything on every path.
pub(crate) const OPEN: &str = "paths:\n  all_others:\n";

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Waits for `look` to find something.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// As [`until`], for what takes long by itself.
#[track_caller]
pub(crate) fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        sleep(TICK);
    }
}
