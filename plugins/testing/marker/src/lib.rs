//! A filter that writes its configured `mark` (one byte) in front of every frame and counts, to see a hot swap: which instance touched which frame, and
//! that the count went from the old to the new one.
//!
//! The payload becomes: mark, then the count as eight big-endian bytes, then the original. `{ mark: 7, schema: 2 }` saves and expects another
//! schema, so that `restore` answers `unsupported`.

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Verdict};
use wasmtx_plugin::{Error, Frame, Part, Plugin, Snapshot};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mark: u8,
    #[serde(default = "first_schema")]
    schema: u32,
}

fn first_schema() -> u32 {
    1
}

struct Marker {
    config: Config,
    count: u64,
}

impl Plugin for Marker {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { config, count: 0 })
    }

    fn save(&self) -> Option<Snapshot> {
        Some(Snapshot {
            schema: self.config.schema,
            data: self.count.to_be_bytes().to_vec(),
        })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        if old.schema != self.config.schema {
            return Err(Error::Unsupported);
        }
        let count = old
            .data
            .try_into()
            .map_err(|_| Error::other("a snapshot is eight bytes"))?;
        self.count = u64::from_be_bytes(count);
        Ok(())
    }
}

impl Filter for Marker {
    fn frame(&mut self, frame: &Frame) -> Verdict {
        self.count += 1;
        let parts = [
            Part::Bytes(&[self.config.mark]),
            Part::Bytes(&self.count.to_be_bytes()),
            Part::Original(0..frame.size),
        ];
        match frame.splice(&parts) {
            Ok(()) => Verdict::Pass,
            Err(_) => Verdict::Drop,
        }
    }
}

wasmtx_plugin::export!(Marker: filter);
