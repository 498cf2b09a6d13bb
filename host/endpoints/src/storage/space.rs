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

/// What must be free above the floor before a file system that refused something counts as having room again: twice as
/// much, a quarter of the floor, and not less than this; on a small one no more than an eighth of it.
const HEADROOM: u64 = 64 << 10;

fn headroom(floor: u64, refused: u64, total: u64) -> u64 {
    refused.saturating_mul(2).max(floor / 4).max(HEADROOM).min(total / 8)
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the server may still use.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Asks a file system for its room, not too often, and remembers that it ran out: a smaller piece may fit where a larger
/// one did not, and whoever writes both would stop and go on with every other of them.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    asked: Mutex<Option<(Instant, Space)>>,
    /// What was refused last, until there is room again.
    refused: Mutex<Option<u64>>,
}

impl Gauge {
    /// [`Error::Full`] if so many bytes more would leave less than the floor, and from then on until some more are free.
    pub(super) fn allows(&self, directory: &OwnedFd, floor: MinFree, bytes: u64) -> Result<(), Error> {
        let refused = *self.refused.lock();
        if floor == MinFree::Bytes(0) && refused.is_none() {
            return Ok(());
        }
        // What a file system that cannot tell thinks of it is heard when it is written to.
        let Some(space) = self.space(directory) else {
            return Ok(());
        };
        let floor = floor.bytes(space.total);
        let more = refused.map_or(bytes, |refused| bytes.max(headroom(floor, refused, space.total)));
        if space.free < floor.saturating_add(more) {
            *self.refused.lock() = refused.max(Some(bytes));
            return Err(Error::Full);
        }
        *self.refused.lock() = None;
        Ok(())
    }

    /// The file system itself refused to take so many bytes.
    pub(super) fn refused(&self, bytes: u64) {
        *self.asked.lock() = None;
        let mut refused = self.refused.lock();
        *refused = (*refused).max(Some(bytes));
    }

    pub(super) fn space(&self, directory: &OwnedFd) -> Option<Space> {
        let now = Instant::now();
        let asked = *self.asked.lock();
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
        *self.asked.lock() = Some((now, space));
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_floor_is_a_gibibyte_or_a_fiftieth() {
        let usual = MinFree::Usual;
        assert_eq!(usual.bytes(1 << 40), 1 << 30);
        assert_eq!(usual.bytes(50 << 20), 1 << 20);
        assert_eq!(usual.bytes(0), 0);
        assert_eq!(MinFree::Bytes(7).bytes(1 << 40), 7);
    }

    #[test]
    fn what_was_full_takes_nothing_until_there_is_more_than_just_room() {
        let directory = OwnedFd::from(std::fs::File::open(".").unwrap());
        let gauge = Gauge::default();
        let (total, floor) = (100 << 20, 10 << 20);
        let allows = |free: u64, bytes| {
            *gauge.asked.lock() = Some((Instant::now() + ASKED, Space { free, total }));
            gauge.allows(&directory, MinFree::Bytes(floor), bytes).is_ok()
        };
        assert!(allows(floor + 100, 100) && !allows(floor + 99, 100));
        // Smaller pieces would fit, and wait until a quarter of the floor is free above it.
        assert!(!allows(floor + 99, 1) && !allows(floor + floor / 4 - 1, 1) && allows(floor + floor / 4, 1));
        assert!(allows(floor + 1, 1));
        // Twice of what did not fit, but not more than a small file system can give.
        gauge.refused(4 << 20);
        assert!(!allows(floor + (8 << 20) - 1, 1) && allows(floor + (8 << 20), 1));
        gauge.refused(1 << 40);
        assert!(!allows(floor + total / 8 - 1, 1) && allows(floor + total / 8, 1));
    }
}
