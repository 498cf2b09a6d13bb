//! Randomness fit for keys and nonces.

use crate::host;

/// `len` random bytes.
pub fn bytes(len: u32) -> Vec<u8> {
    host::random(len)
}
