//! `authmod=adobe`: how Flash Media Server and its likes ask for user and password.
//!
//! Every step is a connection of its own, refused with words that say what to add to app and `tcUrl` next time:
//!
//! ```text
//! app                                          … [ code=403 need auth; authmod=adobe ] …
//! app?authmod=adobe&user=u                     … ?reason=needauth&user=u&salt=s&challenge=c&opaque=o
//! app?authmod=adobe&user=u&challenge=…&response=…&opaque=o
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::Config;

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge<'a> {
    /// Who we are.
    User,
    /// That we know the password.
    Password {
        salt: &'a str,
        challenge: &'a str,
        opaque: &'a str,
    },
}

impl<'a> Challenge<'a> {
    /// Looks for a challenge in the words of a refusal.
    pub(super) fn read(words: &'a str) -> Option<Challenge<'a>> {
        if !words.contains("authmod=adobe") {
            return None;
        }
        let query = words
            .split_once('?')
            .map(|(_, query)| query.trim_end_matches([' ', ']']));
        let value = |name: &str| {
            let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        match value("reason") {
            Some("needauth") => Some(Challenge::Password {
                salt: value("salt")?,
                challenge: value("challenge").unwrap_or_default(),
                opaque: value("opaque").unwrap_or_default(),
            }),
            // `authfailed` and whatever else: asking again would not help.
            Some(_) => None,
            None => words.contains("need auth").then_some(Challenge::User),
        }
    }

    /// What to add to app and `tcUrl`; `None` when the answer was given before and did not help.
    pub(super) fn answer(self, (user, password): &(String, String), config: &Config) -> Option<String> {
        match self {
            Challenge::User if config.proof.is_empty() => Some(format!("?authmod=adobe&user={user}")),
            Challenge::Password { .. } if config.proof.contains("&response=") => None,
            Challenge::User => None,
            Challenge::Password {
                salt,
                challenge,
                opaque,
            } => {
                let secret = hash(&[user, salt, password]);
                let ours: String = config.seed.iter().map(|byte| format!("{byte:02x}")).collect();
                let theirs = if opaque.is_empty() { challenge } else { opaque };
                let response = hash(&[&secret, theirs, &ours]);
                let mut proof = format!("?authmod=adobe&user={user}&challenge={ours}&response={response}");
                if !opaque.is_empty() {
                    proof.push_str("&opaque=");
                    proof.push_str(opaque);
                }
                Some(proof)
            }
        }
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_a_challenge_are_none() {
        for words in [
            "",
            "[ AccessManager.Reject ] : [ code=403 ]",
            "[ authmod=llnw ] : ?reason=needauth&nonce=1",
            "[ authmod=adobe ] : ?reason=authfailed&opaque=x",
            "[ authmod=adobe ] : ?reason=needauth&user=u",
        ] {
            assert_eq!(Challenge::read(words), None, "{words}");
        }
    }

    #[test]
    fn both_steps_of_a_challenge_are_read() {
        assert_eq!(
            Challenge::read("[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "),
            Some(Challenge::User)
        );
        assert_eq!(
            Challenge::read(
                "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=u&salt=s&challenge=c&opaque=o"
            ),
            Some(Challenge::Password {
                salt: "s",
                challenge: "c",
                opaque: "o"
            })
        );
    }
}
