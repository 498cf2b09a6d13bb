//! What a publisher writes into each frame so that a reader can tell what became of it.
//!
//! A stamp is an SEI NAL unit (ITU-T H.264 section 7.3.2.3.1, user_data_unregistered) in front of the frame's slices:
//! servers pass SEI on, players ignore it. Its numbers are hexadecimal text, so no byte of it needs emulation prevention
//! and its size never changes.
//!
//! ```text
//! 06 05 3c | UUID (16) | stream (4) | number (8) | sent (16) | digest (16) | 80
//! ```

use rustix::time::{ClockId, clock_gettime};

/// Marks our SEI among others. No byte is zero, for the same reason as the text.
const MARK: [u8; 16] = *b"wasmtx-load-v1\xa5\x5a";
const TEXT: usize = 4 + 8 + 16 + 16;
const HEADER: [u8; 3] = [0x06, 0x05, (MARK.len() + TEXT) as u8];
/// Bytes of a stamp's NAL unit.
pub(crate) const SIZE: usize = HEADER.len() + MARK.len() + TEXT + 1;

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which of the run's publishers sent it.
    pub(crate) stream: u16,
    /// Counts the publisher's frames from 0.
    pub(crate) number: u32,
    /// When it was sent, by [`now`].
    pub(crate) sent: u64,
    /// The [`Digest`] of its slices.
    pub(crate) digest: u64,
}

impl Stamp {
    /// The stamp as a NAL unit.
    pub(crate) fn to_nal(self) -> [u8; SIZE] {
        let text = format!(
            "{:04x}{:08x}{:016x}{:016x}",
            self.stream, self.number, self.sent, self.digest
        );
        let mut nal = [0x80; SIZE];
        let parts = HEADER.iter().chain(&MARK).chain(text.as_bytes());
        nal.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        nal
    }

    /// The stamp in a NAL unit, if it is one. Bytes behind it are ignored.
    pub(crate) fn of_nal(nal: &[u8]) -> Option<Stamp> {
        let text = nal.strip_prefix(&HEADER)?.strip_prefix(&MARK)?.get(..TEXT)?;
        let text = std::str::from_utf8(text).ok()?;
        Some(Stamp {
            stream: u16::from_str_radix(text.get(..4)?, 16).ok()?,
            number: u32::from_str_radix(text.get(4..12)?, 16).ok()?,
            sent: u64::from_str_radix(text.get(12..28)?, 16).ok()?,
            digest: u64::from_str_radix(text.get(28..)?, 16).ok()?,
        })
    }
}

/// A checksum of a frame's slices, eight bytes at a time: readers compute it for every frame of every stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Takes one more NAL unit.
    pub(crate) fn add(&mut self, nal: &[u8]) {
        self.mix(nal.len() as u64);
        let (words, rest) = nal.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn mix(&mut self, word: u64) {
        // An odd multiplier keeps every bit; the rotation brings the high ones down for the next word.
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// The checksum.
    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// Nanoseconds of the machine's monotonic clock, the same for all processes.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u64::try_from(time.tv_nsec).unwrap_or(0),
    );
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        stream: 7,
        number: 0x1234_5678,
        sent: u64::MAX,
        digest: 0,
    };

    #[test]
    fn a_stamp_comes_back_as_it_was_written() {
        assert_eq!(Stamp::of_nal(&STAMP.to_nal()), Some(STAMP));
    }

    #[test]
    fn a_stamp_holds_no_byte_that_needs_emulation_prevention() {
        assert!(
            Stamp {
                stream: 0,
                number: 0,
                sent: 0,
                digest: 0
            }
            .to_nal()
            .iter()
            .all(|byte| *byte > 3)
        );
    }

    #[test]
    fn every_truncation_of_a_stamp_is_no_stamp() {
        let nal = STAMP.to_nal();
        for length in 0..SIZE - 1 {
            assert_eq!(Stamp::of_nal(&nal[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn other_nal_units_are_no_stamps() {
        let mut nal = STAMP.to_nal();
        nal[30] = b'x';
        assert_eq!(Stamp::of_nal(&nal), None, "not hexadecimal");
        nal[30] = 0xff;
        assert_eq!(Stamp::of_nal(&nal), None, "not text");
        assert_eq!(Stamp::of_nal(&[0x65; SIZE]), None);
    }

    #[test]
    fn the_digest_sees_changed_swapped_and_missing_bytes() {
        let digest = |nals: &[&[u8]]| {
            let mut digest = Digest::default();
            nals.iter().for_each(|nal| digest.add(nal));
            digest.value()
        };
        let base = digest(&[b"0123456789", b"ab"]);
        assert_ne!(base, digest(&[b"0123456780", b"ab"]));
        assert_ne!(base, digest(&[b"1023456789", b"ab"]));
        assert_ne!(base, digest(&[b"ab", b"0123456789"]));
        assert_ne!(base, digest(&[b"0123456789a", b"b"]));
        assert_ne!(base, digest(&[b"0123456789"]));
    }
}
