//! Bounded readers for bytes from outside: [`Cursor`] for bytes, [`Bits`] for bits and Exp-Golomb codes.
//!
//! Every parser of this crate and of `wasmtx-protocol` reads through these two, so that no length from the wire is ever
//! used before it was checked against what is there.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::arithmetic_side_effects))]

use crate::Error;

/// Reads big-endian fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.take(count).map(|_| ())
    }

    /// The next byte, without reading it.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, Error> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Reads bits, most significant first. Made by [`Bits::of_nal`] it passes over the emulation prevention bytes of H.264
/// and H.265 (the 3 of `00 00 03`).
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    bytes: Cursor<'a>,
    current: u8,
    left: u8,
    /// Zero bytes just read, for emulation prevention; `None` when the bytes carry none.
    zeros: Option<u8>,
}

impl<'a> Bits<'a> {
    /// Reads plain bits.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Bits {
            bytes: Cursor::new(bytes),
            current: 0,
            left: 0,
            zeros: None,
        }
    }

    /// Reads the payload of a NAL unit (after its header), without its emulation prevention bytes.
    pub const fn of_nal(bytes: &'a [u8]) -> Self {
        Bits {
            bytes: Cursor::new(bytes),
            current: 0,
            left: 0,
            zeros: Some(0),
        }
    }

    /// One bit.
    pub fn flag(&mut self) -> Result<bool, Error> {
        if self.left == 0 {
            let mut byte = self.bytes.u8()?;
            if let Some(zeros) = self.zeros {
                if zeros >= 2 && byte == 3 {
                    byte = self.bytes.u8()?;
                    self.zeros = Some(u8::from(byte == 0));
                } else {
                    self.zeros = Some(if byte == 0 { zeros.saturating_add(1) } else { 0 });
                }
            }
            self.current = byte;
            self.left = 8;
        }
        self.left = self.left.saturating_sub(1);
        Ok((self.current >> self.left) & 1 == 1)
    }

    /// `count` bits, at most 32.
    pub fn bits(&mut self, count: u32) -> Result<u32, Error> {
        let mut value = 0u32;
        for _ in 0..count.min(32) {
            value = (value << 1) | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// `count` bits, at most 8.
    pub fn small(&mut self, count: u32) -> Result<u8, Error> {
        let [.., low] = self.bits(count.min(8))?.to_be_bytes();
        Ok(low)
    }

    /// Passes over `count` bits.
    pub fn skip(&mut self, count: u32) -> Result<(), Error> {
        for _ in 0..count {
            self.flag()?;
        }
        Ok(())
    }

    /// An unsigned Exp-Golomb code (`ue(v)`, ITU-T H.264 section 9.1).
    pub fn ue(&mut self) -> Result<u32, Error> {
        let mut zeros = 0u32;
        while !self.flag()? {
            zeros = zeros.saturating_add(1);
            if zeros > 31 {
                return Err(Error::Invalid("Exp-Golomb code"));
            }
        }
        let low = self.bits(zeros)?;
        Ok((1u32 << zeros).wrapping_sub(1).wrapping_add(low))
    }

    /// A signed Exp-Golomb code (`se(v)`).
    pub fn se(&mut self) -> Result<i32, Error> {
        let code = i64::from(self.ue()?);
        let half = code.wrapping_add(1) >> 1;
        let value = if code & 1 == 1 { half } else { half.wrapping_neg() };
        i32::try_from(value).map_err(|_| Error::Invalid("Exp-Golomb code"))
    }

    /// Whether a NAL unit has more payload before its trailing bits (`more_rbsp_data()`).
    pub fn more_rbsp_data(&self) -> bool {
        // The stop bit is the last 1 bit; trailing zero bytes do not count.
        let mut ahead = *self;
        let mut ones = 0u32;
        while let Ok(bit) = ahead.flag() {
            if bit {
                ones = ones.saturating_add(1);
                if ones > 1 {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_never_reads_past_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.u16(), Ok(0x0102));
        assert_eq!(cursor.u16(), Err(Error::Truncated));
        assert_eq!(cursor.remaining(), 1, "a failed read takes nothing");
        assert_eq!(cursor.u8(), Ok(3));
        assert_eq!(cursor.take(1), Err(Error::Truncated));
    }

    #[test]
    fn exp_golomb_codes_match_the_table_of_the_standard() {
        // 1 | 010 | 011 | 00100 | 00101 | 1 0000000…
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let codes: Vec<u32> = (0..6).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 0]);
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let codes: Vec<i32> = (0..5).map(|_| bits.se().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn an_endless_exp_golomb_code_is_refused() {
        assert_eq!(Bits::new(&[0; 16]).ue(), Err(Error::Invalid("Exp-Golomb code")));
    }

    #[test]
    fn emulation_prevention_bytes_are_passed_over() {
        let mut bits = Bits::of_nal(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 2]);
        let read: Vec<u32> = std::iter::from_fn(|| bits.bits(8).ok()).collect();
        assert_eq!(read, [0, 0, 1, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn the_stop_bit_is_not_data() {
        assert!(!Bits::of_nal(&[0x80, 0, 0]).more_rbsp_data());
        assert!(Bits::of_nal(&[0x90, 0]).more_rbsp_data());
        assert!(!Bits::of_nal(&[]).more_rbsp_data());
    }
}
