//! Logins that were right before: a slow hash is computed once for a user and a password, not once for each of the thousand
//! readers who come with them, nor again for each when the gate is asked again.
//!
//! What is kept is a digest under a key of this process; wrong passwords are never kept, so a guess costs what it did.

use std::collections::{HashSet, VecDeque};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::config::{Credential, Password, User};

/// Logins that are known; beyond them the oldest is forgotten, and costs a hash when it comes again.
const MAX_KNOWN: usize = 4_096;

type Login = [u8; 32];

/// The logins.
pub(super) struct Proven {
    key: [u8; 32],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: HashSet<Login>,
    /// Oldest first.
    order: VecDeque<Login>,
}

impl Proven {
    pub(super) fn new() -> Proven {
        Proven {
            key: rand::random(),
            known: Mutex::default(),
        }
    }

    /// Names a login: an entry of the file, and what somebody says. Another hash in the file makes it another login.
    pub(super) fn login(&self, entry: &User, user: &str, password: &str) -> Login {
        let User {
            user: name,
            pass: Password(secret),
            ..
        } = entry;
        let mut digest = Sha256::new_with_prefix(self.key);
        for credential in [name, secret] {
            match credential {
                Credential::Plain(text) => field(&mut digest, 0, text.expose().as_bytes()),
                Credential::Sha256(hash) => field(&mut digest, 1, hash),
                Credential::Argon2(phc) => field(&mut digest, 2, phc.expose().as_bytes()),
            }
        }
        field(&mut digest, 3, user.as_bytes());
        field(&mut digest, 4, password.as_bytes());
        digest.finalize().into()
    }

    /// Whether it was right before.
    pub(super) fn knows(&self, login: &Login) -> bool {
        self.known.lock().all.contains(login)
    }

    /// It was right.
    pub(super) fn remember(&self, login: Login) {
        let Known { all, order } = &mut *self.known.lock();
        if !all.insert(login) {
            return;
        }
        order.push_back(login);
        if order.len() > MAX_KNOWN
            && let Some(oldest) = order.pop_front()
        {
            all.remove(&oldest);
        }
    }
}

/// With its length, so that no two fields read as two others.
fn field(digest: &mut Sha256, tag: u8, bytes: &[u8]) {
    digest.update([tag]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_login_is_forgotten_and_the_number_is_bounded() {
        let proven = Proven::new();
        let login = |n: usize| {
            let mut login = [0; 32];
            login[..8].copy_from_slice(&n.to_be_bytes());
            login
        };
        (0..=MAX_KNOWN).for_each(|n| proven.remember(login(n)));
        proven.remember(login(MAX_KNOWN));
        assert!(!proven.knows(&login(0)));
        assert!(proven.knows(&login(1)));
        assert!(proven.knows(&login(MAX_KNOWN)));
        assert_eq!(proven.known.lock().order.len(), MAX_KNOWN);
        assert_eq!(proven.known.lock().all.len(), MAX_KNOWN);
    }

    #[test]
    fn a_login_is_what_is_said_to_whom_as_the_file_has_it() {
        let proven = Proven::new();
        let entry = |name: &str, secret: &str| User {
            user: Credential::from(name),
            pass: Password(Credential::from(secret)),
            ips: Vec::new(),
            permissions: Vec::new(),
        };
        let login = proven.login(&entry("alice", "hash"), "alice", "secret");
        assert_eq!(login, proven.login(&entry("alice", "hash"), "alice", "secret"));
        let others = [
            proven.login(&entry("alice", "other"), "alice", "secret"),
            proven.login(&entry("alice", "hash"), "alice", "secrets"),
            proven.login(&entry("alice", "hash"), "alic", "esecret"),
            proven.login(&entry("alic", "ehash"), "alice", "secret"),
            Proven::new().login(&entry("alice", "hash"), "alice", "secret"),
        ];
        assert!(!others.contains(&login));
    }
}
