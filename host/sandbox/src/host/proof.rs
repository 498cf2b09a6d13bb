//! `proof`: compares a secret with what the client showed, so that the proof itself stays in the host.

use super::State;
use crate::bindings::plugin::proof;

impl proof::Host for State {
    fn verify(&mut self, user: String, secret: String) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.matches(&user, &secret))
    }
}
