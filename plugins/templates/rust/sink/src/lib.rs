//! Says now and then how much a stream sends. It reads from a cursor of its own and delays nobody.

use wasmtx_plugin::sink::{Sink, Wants};
use wasmtx_plugin::{CloseReason, Error, FrameInfo, Plugin, Publication, info};

/// The `config` of mediamtx.yml.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Frames between two lines of the log.
    report: u64,
}

/// One of these per stream.
struct Meter {
    config: Config,
    path: String,
    frames: u64,
    bytes: u64,
}

impl Plugin for Meter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.report == 0 {
            return Err(Error::invalid("/report", "must be at least 1"));
        }
        Ok(Meter {
            config,
            path: String::new(),
            frames: 0,
            bytes: 0,
        })
    }
}

impl Sink for Meter {
    /// Sizes are enough here: no bytes are kept for this sink.
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        let wants = Wants::all(&publication.tracks).without_bytes();
        self.path = publication.path;
        Ok(wants)
    }

    fn infos(&mut self, batch: Vec<FrameInfo>) -> Result<(), Error> {
        for frame in batch {
            self.frames += 1;
            self.bytes += u64::from(frame.size);
            if self.frames.is_multiple_of(self.config.report) {
                info!("{}: {} frames, {} bytes", self.path, self.frames, self.bytes);
            }
        }
        Ok(())
    }

    fn close(&mut self, _: CloseReason) {
        info!("{} ended after {} frames", self.path, self.frames);
    }
}

wasmtx_plugin::export!(Meter: sink);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{Reader, configure, delta, h264, key, publication, take_log};

    #[test]
    fn every_so_many_frames_there_is_a_line() {
        let meter: Meter = configure(r#"{"report":2}"#).unwrap();
        let mut reader = Reader::open(meter, publication("cam1", [h264(1)])).unwrap();
        let picture: &[u8] = b"picture";
        reader.push([(key(1, 0), picture), (delta(1, 1), picture), (delta(1, 2), picture)]).unwrap();
        reader.close(CloseReason::Ended);
        let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, ["cam1: 2 frames, 14 bytes", "cam1 ended after 3 frames"]);
    }

    #[test]
    fn zero_is_refused() {
        assert!(configure::<Meter>(r#"{"report":0}"#).is_err());
    }
}
