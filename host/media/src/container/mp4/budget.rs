//! How many samples a file may list: each of its bytes is in one of them at most, so nothing that is held of them grows
//! beyond what the file itself is.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{MAX_EMPTY_SAMPLES, MAX_MISSING_SAMPLES};
use crate::Error;

/// What samples there may be: each byte of the file is in one sample at most.
#[derive(Debug)]
pub(super) struct Budget {
    file: u64,
    bytes: u64,
    empty: usize,
    /// Samples that are listed but lie outside of the file.
    pub(super) missing: usize,
}

impl Budget {
    /// Of a file of so many bytes.
    pub(super) fn of(file: u64) -> Budget {
        Budget {
            file,
            bytes: file,
            empty: MAX_EMPTY_SAMPLES,
            missing: 0,
        }
    }

    /// Takes the room of one sample. Answers whether there is something to read.
    pub(super) fn take(&mut self, offset: u64, size: u32) -> Result<bool, Error> {
        if size == 0 {
            self.empty = self
                .empty
                .checked_sub(1)
                .ok_or(Error::TooLarge("samples without bytes"))?;
            return Ok(false);
        }
        let size = u64::from(size);
        if offset.saturating_add(size) > self.file {
            self.missing = self.missing.saturating_add(1);
            if self.missing > MAX_MISSING_SAMPLES {
                return Err(Error::TooLarge("samples outside of the file"));
            }
            return Ok(false);
        }
        self.bytes = self
            .bytes
            .checked_sub(size)
            .ok_or(Error::Invalid("samples that overlap"))?;
        Ok(true)
    }
}
