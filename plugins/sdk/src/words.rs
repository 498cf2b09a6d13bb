//! The names of the contract's words, as `wit/plugin.wit` spells them: for logs, labels and JSON, and for configurations that hold such words.

use serde::de::{Deserialize, Deserializer, Error};

use crate::{Action, CloseReason, Media, Protocol};

macro_rules! named {
    ($($type:ident { $($variant:ident: $name:literal $(or $alias:literal)?),+ $(,)? })+) => {$(
        impl $type {
            /// The name, in lower case with hyphens.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }

            /// What has this name. None if nothing has.
            pub fn named(name: &str) -> Option<Self> {
                Some(match name {
                    $($name $(| $alias)? => $type::$variant,)+
                    _ => return None,
                })
            }
        }

        /// From its name, so that it can stand in a plugin's configuration.
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::named(&name).ok_or_else(|| D::Error::unknown_variant(&name, &[$($name),+]))
            }
        }
    )+};
}

named! {
    Media { Video: "video", Audio: "audio", Data: "data" }
    Protocol {
        Rtsp: "rtsp", Rtmp: "rtmp", Srt: "srt", Hls: "hls", Webrtc: "webrtc",
        Flv: "flv", Moq: "moq", File: "file", Api: "api", Other: "other",
    }
    Action {
        Publish: "publish", Read: "read", Playback: "playback", Api: "api",
        // The permissions of mediamtx.yml call it by Go's tool.
        Metrics: "metrics", Profile: "profile" or "pprof", Plugins: "plugins", Other: "other",
    }
    CloseReason {
        Ended: "ended", Replaced: "replaced", Reload: "reload", Failed: "failed", Shutdown: "shutdown",
        Kicked: "kicked", Expired: "expired", Timeout: "timeout", TooSlow: "too-slow", Other: "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_by_its_name_and_by_no_other() {
        for word in [
            "publish", "read", "playback", "api", "metrics", "profile", "plugins", "other",
        ] {
            assert_eq!(Action::named(word).map(Action::name), Some(word));
        }
        assert_eq!(Action::named("pprof"), Some(Action::Profile));
        for word in ["", "Read", "watch", "read "] {
            assert_eq!(Action::named(word), None, "{word}");
        }
    }

    #[test]
    fn a_word_in_a_configuration_is_read_or_refused_with_all_that_there_are() {
        let list: Vec<Media> = serde_json::from_str(r#"["video","data"]"#).unwrap();
        assert_eq!(list, [Media::Video, Media::Data]);
        let error = serde_json::from_str::<Media>(r#""sound""#).unwrap_err().to_string();
        assert!(error.contains("sound") && error.contains("audio"), "{error}");
    }
}
