//! How much room a file system has, and how much of it must stay free.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::fs;

use super::Error;

/// For so long an answer of the file system holds: asking one that is on the network costs a round trip.
const ASKED: Duration = Duration::from_millis(100);
/// The usual floor: at most this, …
const FLOOR_BYTES: u64 = 1 << 30;
/// … and at most this part of the file system: one fiftieth.
const FLOOR_PART: u64 = 50;

/// How much of a file system stays free, whatever is written below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinFree {
    /// 1 GiB, or 2 % of a small file system.
    #[default]
    Usual,
    /// So many bytes; 0 is no floor.
    Bytes(u64),
}

impl MinFree {
    /// So many bytes, of a file system of `total` bytes.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            MinFree::Usual => FLOOR_BYTES.min(total / FLOOR_PART),
            MinFree::Bytes(bytes) => bytes,
        }
    }
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the server may still use.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// [`MinFree`], once the file system's size is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor(MinFree);

impl Floor {
    pub(super) fn new(min_free: MinFree) -> Floor {
        Floor(min_free)
    }

    fn bytes(self, total: u64) -> u64 {
        self.0.bytes(total)
    }
}

/// Asks a file system for its room, not too often.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Option<(Instant, Space)>>);

impl Gauge {
    /// [`Error::Full`] if so many bytes more would leave less than the floor.
    pub(super) fn allows(&self, directory: &OwnedFd, floor: Floor, bytes: u64) -> Result<(), Error> {
        if floor.0 == MinFree::Bytes(0) {
            return Ok(());
        }
        match self.space(directory) {
            Some(space) if space.free.saturating_sub(bytes) < floor.bytes(space.total) => Err(Error::Full),
            // What a file system that cannot tell thinks of it is heard when it is written to.
            _ => Ok(()),
        }
    }

    pub(super) fn space(&self, directory: &OwnedFd) -> Option<Space> {
        let now = Instant::now();
        let asked = *self.0.lock();
        if let Some((at, space)) = asked
            && now.duration_since(at) < ASKED
        {
            return Some(space);
        }
        let stat = fs::fstatvfs(directory).ok().filter(|stat| stat.f_blocks > 0)?;
        let space = Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        };
        *self.0.lock() = Some((now, space));
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_floor_is_a_gibibyte_or_a_fiftieth() {
        let usual = Floor::new(MinFree::Usual);
        assert_eq!(usual.bytes(1 << 40), 1 << 30);
        assert_eq!(usual.bytes(50 << 20), 1 << 20);
        assert_eq!(usual.bytes(0), 0);
        assert_eq!(Floor::new(MinFree::Bytes(7)).bytes(1 << 40), 7);
    }
}
