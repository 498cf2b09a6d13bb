//! A resolver that answers as it is told, `{ mode: <one of Mode>, to: <text> }`, or as the last part of the path says where that is a mode:
//! `live/trap` traps. In `to`, `$PATH` stands for the path.

use std::hint::black_box;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotAMode, StrDeserializer};
use wasmtx_plugin::resolver::{Answer, Resolver};
use wasmtx_plugin::{Client, Error, Plugin, clock, http};

/// How long `slow` computes.
const SLOW: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Nothing,
    /// The source `to`.
    Source,
    /// The path `to`.
    Redirect,
    /// The path that was asked for.
    Circle,
    /// The source that the service at `to` names in its body; nothing unless it answers 200.
    Ask,
    /// As `source`, after computing for a while.
    Slow,
    /// A source that is no URL.
    GarbageSource,
    /// A file of the server as the source.
    FileSource,
    /// A path that no configuration should take.
    GarbageRedirect,
    /// Eight megabytes of URL.
    HugeSource,
    Trap,
    Spin,
    Grow,
    /// Logs what it is asked, then answers nothing.
    Tell,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    to: String,
}

struct ResolverModes {
    config: Config,
}

impl Plugin for ResolverModes {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { config })
    }
}

impl Resolver for ResolverModes {
    fn resolve(&mut self, path: String, client: Client) -> Answer {
        let to = self.config.to.replace("$PATH", &path);
        match named(&path).unwrap_or(self.config.mode) {
            Mode::Nothing => Answer::Nothing,
            Mode::Source => Answer::source(to),
            Mode::Redirect => Answer::redirect(to),
            Mode::Circle => Answer::redirect(path),
            Mode::Ask => match http::Request::get(to).send() {
                Ok(response) if response.status == 200 => Answer::source(response.text().unwrap_or_default()),
                Ok(_) => Answer::Nothing,
                Err(error) => {
                    wasmtx_plugin::warn!("the service did not answer: {}", error.name());
                    Answer::Nothing
                }
            },
            Mode::Slow => {
                let end = clock::monotonic() + SLOW;
                while clock::monotonic() < end {}
                Answer::source(to)
            }
            Mode::GarbageSource => Answer::source("\u{1b}[31mrtsp//:\r\n\0 not a URL"),
            Mode::FileSource => Answer::source("file:///etc/passwd"),
            Mode::GarbageRedirect => Answer::redirect("../../etc/passwd\0"),
            Mode::HugeSource => Answer::source(format!("rtsp://127.0.0.1/{}", "x".repeat(8 << 20))),
            Mode::Trap => panic!("{path} is not to my liking"),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Grow => {
                let mut taken: Vec<Vec<u8>> = Vec::new();
                loop {
                    taken.push(black_box(vec![1; 1 << 20]));
                }
            }
            Mode::Tell => {
                wasmtx_plugin::info!("{path} for {client:?}");
                Answer::Nothing
            }
        }
    }
}

/// The mode that the end of a path names.
fn named(path: &str) -> Option<Mode> {
    let last = path.rsplit('/').next()?;
    let name: StrDeserializer<'_, NotAMode> = last.into_deserializer();
    Mode::deserialize(name).ok()
}

wasmtx_plugin::export!(ResolverModes: resolver);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{answer_http, client, configure};

    #[test]
    fn the_path_or_the_configuration_says_what_to_answer() {
        let mut plugin: ResolverModes = configure(r#"{"mode":"source","to":"rtsp://a.example/$PATH"}"#).unwrap();
        let mut resolve = |path: &str| plugin.resolve(path.into(), client());
        assert_eq!(resolve("live"), Answer::source("rtsp://a.example/live"));
        assert_eq!(resolve("live/nothing"), Answer::Nothing);
        assert_eq!(resolve("live/circle"), Answer::redirect("live/circle"));
        assert_eq!(resolve("live/ask"), Answer::Nothing, "nobody answers");
        answer_http(|request| {
            Ok(http::Response {
                body: format!("srt://{}", request.url.len()).into(),
                ..http::Response::new(200)
            })
        });
        assert_eq!(resolve("live/ask"), Answer::source("srt://25"));
    }
}
