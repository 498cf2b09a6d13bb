//! Writes down who comes and goes, as lines of the log.

use wasmtx_plugin::events::{Event, Events, Stamp};
use wasmtx_plugin::{Error, Plugin, info, warn};

/// The `config` of mediamtx.yml.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How the paths begin that matter; empty for all.
    only: String,
}

struct Diary(Config);

impl Plugin for Diary {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Diary(config))
    }
}

impl Events for Diary {
    fn on_event(&mut self, at: Stamp, event: Event) {
        if at.lost > 0 {
            warn!("{} events were lost before this one", at.lost);
        }
        let Some(path) = event.path().filter(|path| path.starts_with(&self.0.only)) else {
            return;
        };
        match &event {
            Event::Online(publication) => info!("{path} is online with {} tracks", publication.tracks.len()),
            Event::Offline((_, reason)) => info!("{path} is offline: {}", reason.name()),
            other => info!("{path}: {}", other.kind()),
        }
    }
}

wasmtx_plugin::export!(Diary: events);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::CloseReason;
    use wasmtx_plugin::testing::{announce, configure, h264, publication, take_log};

    #[test]
    fn what_matters_is_written_down() {
        let mut diary: Diary = configure(r#"{"only":"cam"}"#).unwrap();
        announce(&mut diary, Event::Online(publication("cam1", [h264(1)])));
        announce(&mut diary, Event::Offline(("cam1".into(), CloseReason::Timeout)));
        announce(&mut diary, Event::Offline(("door".into(), CloseReason::Timeout)));
        let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["cam1 is online with 1 tracks", "cam1 is offline: timeout"]);
    }
}
