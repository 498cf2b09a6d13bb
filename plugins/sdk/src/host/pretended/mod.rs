//! The server's functions as tests have them: one pretended server per thread, which [`crate::testing`] reads and sets.

pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod signals;
pub(crate) mod storage;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::bindings::imports::wasmtx::plugin::frame;
use crate::log::Level;
use crate::{FrameError, FrameInfo, Part};

pub(crate) use signals::{control, metrics, notify, recording};

thread_local! {
    static SERVER: RefCell<Server> = RefCell::default();
}

/// What the pretended server knows.
#[derive(Default)]
pub(crate) struct Server {
    /// Microseconds since 1970, also of the monotonic clock.
    pub(crate) now: u64,
    /// Seconds that local time is ahead of UTC.
    pub(crate) offset: i32,
    pub(crate) lines: Vec<(Level, String)>,
    /// The payload at hand, while a frame call runs.
    pub(crate) payload: Option<Rc<[u8]>>,
    /// Emitting is possible, while a frame or close call runs.
    pub(crate) emitting: bool,
    pub(crate) spliced: Option<Vec<u8>>,
    pub(crate) emitted: Vec<(FrameInfo, Vec<u8>)>,
    /// User and password that the client under decision proved.
    pub(crate) proof: Option<(String, String)>,
    /// A filter's call runs, which may not wait.
    pub(crate) inline: bool,
    /// Events announced so far.
    pub(crate) events: u64,
    pub(crate) kv: kv::Store,
    pub(crate) http: http::Service,
    pub(crate) storage: storage::Disk,
    pub(crate) signals: signals::Signals,
    /// Payloads behind the handles that a component would be given.
    pub(crate) handles: HashMap<u32, Rc<[u8]>>,
    /// State of the generator behind `random`; the same in every test.
    seed: u64,
}

pub(crate) fn server<R>(look: impl FnOnce(&mut Server) -> R) -> R {
    SERVER.with_borrow_mut(look)
}

/// Bytes of a frame that was held.
#[derive(Debug)]
pub(crate) struct Held(Rc<[u8]>);

/// What the generated exports are called with; a handle that nobody gave holds nothing.
impl From<frame::Held> for Held {
    fn from(held: frame::Held) -> Self {
        let handle = held.take_handle();
        Held(server(|server| server.handles.remove(&handle)).unwrap_or_default())
    }
}

impl Held {
    pub(crate) fn new(payload: &[u8]) -> Self {
        Self(payload.into())
    }

    pub(crate) fn size(&self) -> u32 {
        self.0.len() as u32
    }

    pub(crate) fn read(&self, offset: u32, len: u32) -> Vec<u8> {
        clamped(&self.0, offset, len)
    }
}

pub(crate) fn read(offset: u32, len: u32) -> Vec<u8> {
    server(|server| {
        server
            .payload
            .as_ref()
            .map(|payload| clamped(payload, offset, len))
            .unwrap_or_default()
    })
}

pub(crate) fn hold() -> Result<Held, FrameError> {
    server(|server| server.payload.clone().map(Held).ok_or(FrameError::NoFrame))
}

pub(crate) fn splice(parts: &[Part<'_>]) -> Result<(), FrameError> {
    server(|server| {
        let payload = server.payload.as_deref().ok_or(FrameError::NoFrame)?;
        server.spliced = Some(join(payload, parts)?);
        Ok(())
    })
}

pub(crate) fn emit(info: FrameInfo, parts: &[Part<'_>]) -> Result<(), FrameError> {
    server(|server| {
        if !server.emitting {
            return Err(FrameError::NoFrame);
        }
        let payload = join(server.payload.as_deref().unwrap_or_default(), parts)?;
        server.emitted.push((info, payload));
        Ok(())
    })
}

pub(crate) fn log(level: Level, message: &str) {
    server(|server| server.lines.push((level, message.to_owned())));
}

pub(crate) fn now() -> u64 {
    server(|server| server.now)
}

pub(crate) fn monotonic() -> u64 {
    now()
}

pub(crate) fn offset(_at: u64) -> i32 {
    server(|server| server.offset)
}

/// SplitMix64: enough to be different each time, and the same in every run.
pub(crate) fn random(len: u32) -> Vec<u8> {
    let next = |server: &mut Server| {
        server.seed = server.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (server.seed ^ server.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27) as u8
    };
    server(|server| (0..len).map(|_| next(server)).collect())
}

pub(crate) fn verify(user: &str, secret: &str) -> bool {
    server(|server| {
        server
            .proof
            .as_ref()
            .is_some_and(|proof| proof.0 == user && proof.1 == secret)
    })
}

fn join(payload: &[u8], parts: &[Part<'_>]) -> Result<Vec<u8>, FrameError> {
    let mut joined = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => joined.extend_from_slice(bytes),
            Part::Original(range) => {
                let range = range.start as usize..range.end as usize;
                joined.extend_from_slice(payload.get(range).ok_or(FrameError::Range)?);
            }
            Part::Held(held) => joined.extend_from_slice(&held.0.0),
        }
    }
    Ok(joined)
}

fn clamped(bytes: &[u8], offset: u32, len: u32) -> Vec<u8> {
    part(bytes, offset.into(), len).to_vec()
}

fn part(bytes: &[u8], offset: u64, len: u32) -> &[u8] {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(offset..).unwrap_or_default();
    &rest[..rest.len().min(len as usize)]
}
