//! The token: `<expiry>.<action>.<path>.<signature>`, made of characters that a URL's query takes as they are.
//!
//! ```text
//! 1764000000.read.lobby/*.6dbe…   expiry  seconds since 1970
//! │          │    │       │       action  publish, read or playback
//! │          │    │       │       path    as in mediamtx.yml; a `*` at the end stands for any continuation
//! └──────────┴────┴───────┘       signature  HMAC-SHA256 (RFC 2104) of all before its dot, as 64 hexadecimal digits
//! ```

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::time::Duration;
use wasmtx_plugin::Action;

/// Digits of the signature.
const SIGNATURE: usize = 64;
/// Far more than a path and a signature need.
const LONGEST: usize = 2048;

/// A token whose parts are all there. Nothing in it means anything before [`Token::is_signed_with`] said yes.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    signed: &'a str,
    signature: [u8; SIGNATURE / 2],
    expiry: Duration,
    action: Action,
    path: &'a str,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        // A path has dots of its own, so its end is looked for from the right.
        let (signed, signature) = text.rsplit_once('.')?;
        let (expiry, rest) = signed.split_once('.')?;
        let (action, path) = rest.split_once('.')?;
        let action = match action {
            "publish" => Action::Publish,
            "read" => Action::Read,
            "playback" => Action::Playback,
            _ => return None,
        };
        let digits = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
        let expiry = Duration::from_secs(expiry.parse().ok().filter(|_| digits)?);
        (!path.is_empty()).then_some(())?;
        Some(Self {
            signed,
            signature: unhex(signature)?,
            expiry,
            action,
            path,
        })
    }

    /// Takes as long for a nearly right signature as for a wrong one.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(self.signed.as_bytes());
        mac.verify_slice(&self.signature).is_ok()
    }

    /// Is it good for this?
    pub(crate) fn covers(&self, action: Action, path: &str) -> bool {
        let matches = match self.path.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == self.path,
        };
        action == self.action && matches
    }

    /// What is left of it at `now`; none when nothing is.
    pub(crate) fn remaining(&self, now: Duration, leeway: Duration) -> Option<Duration> {
        self.expiry
            .saturating_add(leeway)
            .checked_sub(now)
            .filter(|left| !left.is_zero())
    }
}

fn unhex(text: &str) -> Option<[u8; SIGNATURE / 2]> {
    let digits: &[u8; SIGNATURE] = text.as_bytes().try_into().ok()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; SIGNATURE / 2];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct horse battery staple";

    /// `printf %s 1764000000.read.lobby/v1.2/* | openssl dgst -sha256 -hmac "correct horse battery staple"`
    const GOOD: &str = "1764000000.read.lobby/v1.2/*.c18b93772cd522bebf30ae1b84b05fec965918d6a27932d552b39039e7414ec5";

    #[test]
    fn what_openssl_signed_is_signed() {
        let token = Token::parse(GOOD).unwrap();
        assert!(token.is_signed_with(SECRET));
        assert!(!token.is_signed_with("another secret"));
        assert!(token.covers(Action::Read, "lobby/v1.2/left"));
        assert!(!token.covers(Action::Read, "lobby/v1.2"));
        assert!(!token.covers(Action::Publish, "lobby/v1.2/left"));
    }

    #[test]
    fn any_changed_character_breaks_the_signature() {
        for at in 0..GOOD.len() {
            let mut changed = GOOD.to_owned().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                !Token::parse(&changed).is_some_and(|token| token.is_signed_with(SECRET)),
                "{changed}"
            );
        }
    }

    #[test]
    fn half_a_token_is_none() {
        for end in 0..GOOD.len() {
            assert!(Token::parse(&GOOD[..end]).is_none(), "{}", &GOOD[..end]);
        }
        let signature = &GOOD[GOOD.len() - SIGNATURE..];
        for wrong in [
            "",
            "..",
            "1.read.",
            "-1.read.cam",
            "+1.read.cam",
            "1e3.read.cam",
            ".read.cam",
            "1.watch.cam",
            "99999999999999999999.read.cam",
        ] {
            assert!(Token::parse(&format!("{wrong}.{signature}")).is_none(), "{wrong}");
        }
        assert!(Token::parse(&format!("1.read.{}.{signature}", "x".repeat(LONGEST))).is_none());
        assert!(Token::parse(&GOOD.replace("read", "re\u{e4}d")).is_none());
    }

    #[test]
    fn it_lasts_until_its_expiry_and_the_leeway() {
        let token = Token::parse(GOOD).unwrap();
        let at = |seconds| token.remaining(Duration::from_secs(seconds), Duration::from_secs(5));
        assert_eq!(at(1_763_999_990), Some(Duration::from_secs(15)));
        assert_eq!(at(1_764_000_004), Some(Duration::from_secs(1)));
        assert_eq!(at(1_764_000_005), None);
        assert_eq!(at(u64::MAX), None);
    }
}
