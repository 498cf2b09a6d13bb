//! An auth plugin that answers what it is told to: by configuration, `{ answer: deny-not-found }`, or by the user name where that is a known answer.
//!
//! `as-proved` allows when the client proves the password `secret`, by whatever scheme.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NotAnAnswer;
use std::time::Duration;
use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request, verify};
use wasmtx_plugin::{Error, Plugin};

/// What `allow-for-a-while` lasts, and the interval of `allow-and-recheck`.
const WHILE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    #[default]
    Abstain,
    Allow,
    AllowForAWhile,
    AllowAndRecheck,
    /// So slowly that a picture or two are too much.
    AllowSlowly,
    /// Identity, tags and a bit rate; strings with control characters among them.
    AllowAs,
    /// Sends the client to `elsewhere`.
    AllowElsewhere,
    /// Sends the client to a path that no configuration should take.
    AllowNowhere,
    AsProved,
    DenyCredentials,
    DenyNotAllowed,
    DenyNotFound,
    DenyTooMany,
    DenyLater,
    Trap,
    Spin,
    Grow,
    /// Writes the request to the log, then abstains.
    Tell,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    answer: Answer,
}

struct AuthModes {
    answer: Answer,
}

impl Plugin for AuthModes {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { answer: config.answer })
    }
}

impl Auth for AuthModes {
    fn check(&mut self, request: Request) -> Decision {
        let named = request.user.as_deref().and_then(|user| {
            let name: serde::de::value::StrDeserializer<'_, NotAnAnswer> = user.into_deserializer();
            Answer::deserialize(name).ok()
        });
        match named.unwrap_or(self.answer) {
            Answer::Abstain => Decision::Abstain,
            Answer::Allow => Decision::allow(),
            Answer::AllowForAWhile => Permit::default().lasts(WHILE).into(),
            Answer::AllowAndRecheck => Permit::default().recheck(WHILE).into(),
            Answer::AllowSlowly => Permit::default().max_bitrate(1_000).into(),
            Answer::AllowAs => Permit {
                tags: vec![
                    ("room".into(), "kitchen".into()),
                    ("\u{1b}[31m".into(), "\r\nfake: line".into()),
                ],
                max_bitrate: Some(u64::MAX),
                ..Permit::default().identity("Ada\u{7}")
            }
            .into(),
            Answer::AllowElsewhere => Permit::default().path("elsewhere").into(),
            Answer::AllowNowhere => Permit::default().path("../../etc/passwd\0").into(),
            Answer::AsProved => match verify(request.user.as_deref().unwrap_or_default(), "secret") {
                true => Decision::allow(),
                false => Denial::Credentials.into(),
            },
            Answer::DenyCredentials => Denial::Credentials.into(),
            Answer::DenyNotAllowed => Denial::NotAllowed.into(),
            Answer::DenyNotFound => Denial::NotFound.into(),
            Answer::DenyTooMany => Denial::TooMany.into(),
            Answer::DenyLater => Denial::Later.into(),
            Answer::Trap => panic!("{} is not to my liking", request.path),
            Answer::Spin => loop {
                std::hint::black_box(());
            },
            Answer::Grow => {
                let mut taken: Vec<Vec<u8>> = Vec::new();
                loop {
                    taken.push(std::hint::black_box(vec![1; 1 << 20]));
                }
            }
            Answer::Tell => {
                wasmtx_plugin::info!("{request:?}");
                Decision::Abstain
            }
        }
    }
}

wasmtx_plugin::export!(AuthModes: auth);
