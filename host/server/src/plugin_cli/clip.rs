//! Recorded clips: read as a stream of frames, and written as one.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Read, Write},
    path::Path,
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use wasmtx_media::{
    Frame, Track, TrackId, Tracks,
    container::mp4::{self, Movie, Part, Step, Writer},
};

/// The largest clip: it is held in memory.
const MAX_BYTES: u64 = 2 << 30;
/// A part of the written file ends with the first keyframe behind so many bytes.
const PART_BYTES: usize = 1 << 20;

/// Reads a clip whole.
pub(super) fn read(file: &Path) -> anyhow::Result<Movie> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("{shown} cannot be read"))?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!(
            "{shown} has more than {} GiB: cut a piece out of it (ffmpeg -ss 0 -t 60 -c copy)",
            MAX_BYTES >> 30
        );
    }
    mp4::read(&Bytes::from(bytes)).map_err(|error| {
        anyhow!(
            "{shown} is no MP4 file that could be read: {error}\n\
             Clips are MP4 with H.264, H.265, AV1 or VP9, AAC or Opus; `ffmpeg -i CLIP -c copy clip.mp4` makes one of other files."
        )
    })
}

/// When a frame is, in seconds from the start of the clip.
pub(super) fn seconds(ticks: i64, track: &Track) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "shown with six digits")]
    let ticks = ticks as f64;
    ticks / f64::from(track.clock_rate)
}

/// The track of a frame.
pub(super) fn track(tracks: &Tracks, id: TrackId) -> Option<&Track> {
    tracks.iter().find(|track| track.id == id)
}

/// Writes tracks and frames as a playable file. Answers what had to be left out, a sentence each.
pub(super) fn write(file: &Path, tracks: &Tracks, steps: &[Step]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    let first = first_times(steps);
    let carried: Vec<Track> = tracks
        .iter()
        .filter(|track| first.contains_key(&track.id) && Writer::carries(&track.codec))
        .cloned()
        .collect();
    for track in tracks
        .iter()
        .filter(|track| !carried.iter().any(|other| other.id == track.id))
    {
        notes.push(format!(
            "track {} ({}) has no frames and is not written",
            track.id.0,
            track.codec.name()
        ));
    }
    if carried.is_empty() {
        bail!("nothing comes out: no file is written");
    }
    let mut writer = Writer::new(&carried)?;
    for track in &carried {
        if let Some(first) = first.get(&track.id) {
            writer.begin(track.id, 0, *first);
        }
    }
    let shown = file.display();
    let output = File::create(file).with_context(|| format!("{shown} cannot be written"))?;
    let mut output = Output {
        file: BufWriter::new(output),
        begun: false,
    };
    for step in steps {
        match step {
            Step::Frame(frame) => {
                if frame.is_key() && writer.pending() >= PART_BYTES {
                    output
                        .part(&mut writer)
                        .with_context(|| format!("{shown} cannot be written"))?;
                }
                writer.push(frame)?;
            }
            Step::Tracks(tracks) => writer.set_tracks(tracks),
        }
    }
    output
        .end(writer)
        .with_context(|| format!("{shown} cannot be written"))?;
    Ok(notes)
}

fn first_times(steps: &[Step]) -> HashMap<TrackId, i64> {
    let mut first = HashMap::new();
    for step in steps {
        if let Step::Frame(Frame { track, dts, .. }) = step {
            first.entry(*track).or_insert(*dts);
        }
    }
    first
}

struct Output {
    file: BufWriter<File>,
    begun: bool,
}

impl Output {
    fn part(&mut self, writer: &mut Writer) -> anyhow::Result<()> {
        self.header(writer)?;
        self.put(writer.part())
    }

    fn end(mut self, writer: Writer) -> anyhow::Result<()> {
        self.header(&writer)?;
        self.put(writer.finish())?;
        Ok(self.file.flush()?)
    }

    /// Written late: the first frames of a track may tell what belongs into it.
    fn header(&mut self, writer: &Writer) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.file.write_all(&writer.header()?)?;
        }
        Ok(())
    }

    fn put(&mut self, part: Option<Part>) -> anyhow::Result<()> {
        for chunk in part.iter().flat_map(Part::chunks) {
            self.file.write_all(chunk)?;
        }
        Ok(())
    }
}
