//! Records streams to files. See README.md.

mod config;
mod payload;
mod record;
mod server;
mod tracks;

use std::time::Duration;

use config::Config;
use record::{Frame, Recorder, Settings};
use server::Host;
use wasmtx_media::recording::Format;
use wasmtx_media::{Flags, TrackId};
use wasmtx_plugin::sink::{Interest, Item, Sink, Wants};
use wasmtx_plugin::{CloseReason, Error, Plugin, Publication, Snapshot, Track, info, metrics, warn};

/// How often a recorder looks whether a disk takes files again, or a part waits that no frame pushes on.
const TICK: Duration = Duration::from_millis(500);

/// Of what is handed over at a swap: the recording, and the number of its next file.
const SCHEMA: u32 = 1;

struct Recording {
    settings: Settings,
    recorder: Option<Recorder<Host>>,
    /// Tracks that were said to be left out.
    left_out: Vec<u32>,
}

impl Plugin for Recording {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            settings: config.settings()?,
            recorder: None,
            left_out: Vec::new(),
        })
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(TICK)
    }

    fn save(&self) -> Option<Snapshot> {
        let (stream, number) = self.recorder.as_ref()?.next()?;
        let data = [&stream[..], &number.to_be_bytes()].concat();
        Some(Snapshot { schema: SCHEMA, data })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        let read = || {
            let (stream, number) = old.data.split_first_chunk::<16>()?;
            Some((*stream, u64::from_be_bytes(number.try_into().ok()?)))
        };
        match (&mut self.recorder, read()) {
            (Some(recorder), Some(next)) if old.schema == SCHEMA => recorder.go_on(next),
            _ => return Err(Error::Unsupported),
        }
        Ok(())
    }

    fn tick(&mut self, _now: Duration) {
        if let Some(recorder) = &mut self.recorder {
            recorder.tick();
        }
    }
}

impl Sink for Recording {
    fn open(&mut self, publication: Publication) -> Result<Wants, Error> {
        let Publication { path, tracks, .. } = publication;
        let known: Vec<_> = tracks.iter().filter_map(tracks::known).collect();
        let recorder = self
            .recorder
            .get_or_insert_with(|| Recorder::new(Host::new(&path), self.settings.clone(), &path));
        let recorded = recorder.open(&known);
        self.say(&tracks, &recorded);
        if recorded.is_empty() {
            return Err(Error::Unsupported);
        }
        Ok(Wants::with(recorded.iter().map(|track| Interest::all(track.0))))
    }

    fn frames(&mut self, batch: Vec<Item>) -> Result<(), Error> {
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        recorder.batch();
        for item in batch {
            let info = item.info;
            recorder.push(Frame {
                track: TrackId(info.track),
                pts: info.pts,
                dts: info.dts,
                duration: info.duration,
                wall: info.wall,
                flags: Flags(info.flags),
                payload: item.into(),
            });
        }
        Ok(())
    }

    fn close(&mut self, _reason: CloseReason) {
        if let Some(mut recorder) = self.recorder.take() {
            recorder.close();
            metrics::gauge("suspended", 0.0);
        }
    }
}

impl Recording {
    /// Says which tracks of the publisher's are not recorded, once for each set of them.
    fn say(&mut self, tracks: &[Track], recorded: &[TrackId]) {
        let is_recorded = |id: u32| recorded.contains(&TrackId(id));
        let left = tracks.iter().filter(|track| {
            let derived = |other: &&Track| tracks::made_of(other) == Some(track.id);
            tracks::made_of(track).is_none()
                && !is_recorded(track.id)
                && !tracks.iter().filter(derived).any(|other| is_recorded(other.id))
        });
        let left: Vec<&Track> = left.collect();
        let ids: Vec<u32> = left.iter().map(|track| track.id).collect();
        if ids == self.left_out {
            return;
        }
        self.left_out = ids;
        let names: Vec<String> = left
            .iter()
            .map(|track| format!("{} (track {})", track.codec, track.id))
            .collect();
        let format = match self.settings.format {
            Format::Fmp4 => "fmp4",
            Format::MpegTs => "mpegts",
        };
        match (left.is_empty(), recorded.is_empty()) {
            (true, _) => {}
            (false, true) => warn!("not recorded: {format} has no form for {}", names.join(", ")),
            (false, false) => info!("recorded without {}, for which {format} has no form", names.join(", ")),
        }
    }
}

wasmtx_plugin::export!(Recording: sink);

#[cfg(test)]
mod tests;
