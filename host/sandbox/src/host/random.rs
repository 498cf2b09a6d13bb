//! `random`: the system's random bytes, a bounded number at a time.

use super::State;
use crate::bindings::plugin::random;

const MAX_LEN: usize = 64 << 10;

impl random::Host for State {
    fn bytes(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; (len as usize).min(MAX_LEN)];
        if getrandom::fill(&mut bytes).is_err() {
            // Fewer bytes than asked for are noticed; predictable ones would not be.
            bytes.clear();
        }
        bytes
    }
}
