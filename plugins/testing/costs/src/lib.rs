//! What benches measure: a plugin that does one small thing per frame. As a filter `{ mode: pass | read | splice, state: bytes }`: reads the whole payload,
//! or puts 32 bytes in front of it; hands `state` bytes over at a swap. As a sink it writes like a recorder: a box header of 24 bytes and the frame, which
//! does not pass through here, and a commit at each keyframe.

use std::hint::black_box;

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Verdict};
use wasmtx_plugin::sink::{Item, Sink};
use wasmtx_plugin::storage::File;
use wasmtx_plugin::{CloseReason, Error, Frame, Part, Plugin, Snapshot};

const MARK: [u8; 32] = [7; 32];
const FILE: &str = "frames.bin";

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Pass,
    Read,
    Splice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Config {
    mode: Mode,
    state: usize,
    /// Only tells one configuration from another.
    version: u32,
}

struct Costs {
    config: Config,
    file: Option<File>,
}

impl Plugin for Costs {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        black_box(config.version);
        Ok(Self { config, file: None })
    }

    fn save(&self) -> Option<Snapshot> {
        let data = vec![1; self.config.state];
        (!data.is_empty()).then_some(Snapshot { schema: 1, data })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        black_box(old.data);
        Ok(())
    }
}

impl Filter for Costs {
    fn frame(&mut self, frame: &Frame) -> Verdict {
        match self.config.mode {
            Mode::Pass => {}
            Mode::Read => drop(black_box(frame.payload())),
            Mode::Splice => {
                let parts = [Part::Bytes(&MARK), Part::Original(0..frame.size)];
                if frame.splice(&parts).is_err() {
                    return Verdict::Drop;
                }
            }
        }
        Verdict::Pass
    }
}

impl Sink for Costs {
    fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create(FILE)?),
        };
        for item in &batch {
            let mut header = [0; 24];
            header[..4].copy_from_slice(&item.info.size.to_be_bytes());
            header[8..16].copy_from_slice(&item.info.pts.to_be_bytes());
            file.append(header)?;
            file.append_held(&item.data)?;
            if item.info.is_key() {
                file.commit()?;
            }
        }
        Ok(())
    }

    fn close(&mut self, _reason: CloseReason) {
        self.file = None;
    }
}

wasmtx_plugin::export!(Costs: filter, sink);
