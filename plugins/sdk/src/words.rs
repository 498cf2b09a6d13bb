//! The names of the contract's words, as `wit/plugin.wit` spells them: for logs, labels and JSON.

use crate::{Action, CloseReason, Media, Protocol};

macro_rules! named {
    ($($type:ident { $($variant:ident: $name:literal),+ $(,)? })+) => {$(
        impl $type {
            /// The name, in lower case with hyphens.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
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
        Metrics: "metrics", Profile: "profile", Plugins: "plugins", Other: "other",
    }
    CloseReason {
        Ended: "ended", Replaced: "replaced", Reload: "reload", Failed: "failed", Shutdown: "shutdown",
        Kicked: "kicked", Expired: "expired", Timeout: "timeout", TooSlow: "too-slow", Other: "other",
    }
}
