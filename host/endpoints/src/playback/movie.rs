//! A range as a plain file: all tables in front, then the bytes of the recorded files as they are.
//!
//! The bytes between the samples, the lists of the recording's parts, stay where they are and nobody reads them: so every byte
//! of the samples has its place in the new file without anything being looked at, and a player that seeks costs what it reads.
//! The tables are made anew for every request, each in a walk of its own over the lists of samples.

use wasmtx_media::container::mp4::recorded::{self, Entry, Presentation, Sample, Table, TableKind, Tally};

use super::{
    Error,
    document::{Content, Piece},
    file::{File, Part},
    library::Library,
    plan::{Plan, Role},
    range::Clock,
};

/// Bytes of a table that are made at once.
const TABLE_CHUNK: usize = 16 << 10;

/// Where the samples are.
#[derive(Debug)]
pub(super) struct Movie {
    data: Vec<Data>,
    /// Where in the new file the first of them begins.
    begins: u64,
}

/// Bytes of a recorded file in the new one.
#[derive(Clone, Copy, Debug)]
struct Data {
    file: u32,
    from: u64,
    to: u64,
    /// How many are in front of them.
    at: u64,
}

/// Counts everything, and plans the pieces.
pub(super) fn plan(library: &dyn Library, plan: &Plan) -> Result<(Movie, Vec<Piece>), Error> {
    let mut tallies = vec![Tally::default(); plan.tracks.len()];
    let mut data: Vec<Data> = Vec::new();
    for span in &plan.spans {
        let file = plan.open(library, span.file)?;
        let clocks = plan.clocks(span.file, &file.header);
        let mut at = span.from;
        while at < span.to
            && let Some(part) = file.part(at)?
        {
            let base = data
                .last()
                .filter(|data| data.file == span.file)
                .map(|data| (data.from, data.at));
            let (from, before) = match base {
                Some(base) => base,
                None => {
                    let before = data
                        .last()
                        .map_or(0, |last| last.at.saturating_add(last.to - last.from));
                    let first = first_kept(plan, &file, &clocks, &part)?;
                    let Some(from) = first else {
                        at = part.end;
                        continue;
                    };
                    data.push(Data {
                        file: span.file,
                        from,
                        to: from,
                        at: before,
                    });
                    (from, before)
                }
            };
            let mut end = from;
            each_kept(plan, &file, &clocks, &part, |sample, dts| {
                end = end.max(sample.offset.saturating_add(sample.size.into()));
                let offset = sample.offset.saturating_sub(from).saturating_add(before);
                if let Some(tally) = tallies.get_mut(sample.track) {
                    tally.push(&entry(sample, dts, offset));
                }
            })?;
            if let Some(data) = data.last_mut() {
                data.to = data.to.max(end);
            }
            at = part.end;
        }
    }
    tallies.iter_mut().for_each(Tally::finish);
    let total = data
        .last()
        .map_or(0, |last| last.at.saturating_add(last.to - last.from));
    let (presentation, begins) = recorded::progressive(&plan.tracks, &tallies, total)?;
    let mut pieces = Vec::with_capacity(presentation.len().saturating_add(data.len()));
    for piece in presentation {
        match piece {
            Presentation::Bytes(bytes) => pieces.push(Piece {
                len: bytes.len() as u64,
                content: Content::Bytes(bytes),
            }),
            Presentation::Table(track, kind) => pieces.push(Piece {
                len: tallies.get(track).map_or(0, |tally| tally.bytes(kind)),
                content: Content::Table(track, kind),
            }),
            Presentation::Data => pieces.extend(data.iter().map(|&Data { file, from, to, .. }| Piece {
                len: to - from,
                content: Content::Raw { file, from, to },
            })),
        }
    }
    Ok((Movie { data, begins }, pieces))
}

fn entry(sample: &Sample, dts: i64, offset: u64) -> Entry {
    Entry {
        dts,
        later: sample.later,
        duration: sample.duration,
        size: sample.size,
        sync: sample.is_sync(),
        offset,
    }
}

/// The samples of a part that are in the range or lead in, with when they are decoded.
fn each_kept(
    plan: &Plan,
    file: &File,
    clocks: &[Clock],
    part: &Part,
    mut each: impl FnMut(&Sample, i64),
) -> Result<(), Error> {
    file.samples(part, |sample| {
        if let Some(clock) = clocks.get(sample.track) {
            let dts = clock.of_sample(sample);
            if plan.role(sample, dts, clock) != Role::Out {
                each(sample, dts);
            }
        }
    })
}

/// Where in its file the first byte is that is needed of a part.
fn first_kept(plan: &Plan, file: &File, clocks: &[Clock], part: &Part) -> Result<Option<u64>, Error> {
    let mut first: Option<u64> = None;
    each_kept(plan, file, clocks, part, |sample, _| {
        first = Some(first.map_or(sample.offset, |first| first.min(sample.offset)));
    })?;
    Ok(first)
}

/// The entries of one table, being made.
pub(super) struct TableWalk {
    track: usize,
    table: Table,
    span: usize,
    at: Option<u64>,
    open: Option<(u32, File, Vec<Clock>)>,
    is_over: bool,
}

impl TableWalk {
    /// Begins at the first sample.
    pub(super) fn new(track: usize, kind: TableKind) -> TableWalk {
        TableWalk {
            track,
            table: Table::new(kind),
            span: 0,
            at: None,
            open: None,
            is_over: false,
        }
    }

    /// The next entries; none when there are no more.
    pub(super) fn next(&mut self, library: &dyn Library, plan: &Plan, movie: &Movie) -> Result<Option<Vec<u8>>, Error> {
        let mut made = Vec::with_capacity(TABLE_CHUNK);
        while made.len() < TABLE_CHUNK {
            let Some(span) = plan.spans.get(self.span) else {
                if std::mem::replace(&mut self.is_over, true) {
                    break;
                }
                let none = Table::new(TableKind::Sizes);
                std::mem::replace(&mut self.table, none).finish(&mut made);
                break;
            };
            if self.open.as_ref().is_none_or(|(file, ..)| *file != span.file) {
                let file = plan.open(library, span.file)?;
                let clocks = plan.clocks(span.file, &file.header);
                self.open = Some((span.file, file, clocks));
            }
            let Some((_, file, clocks)) = &self.open else { break };
            let at = self.at.unwrap_or(span.from);
            let part = if at < span.to { file.part(at)? } else { None };
            let Some(part) = part else {
                self.span = self.span.saturating_add(1);
                self.at = None;
                continue;
            };
            // In the order of the files, as spans are.
            let place = movie.data.binary_search_by_key(&span.file, |data| data.file);
            if let Some(data) = place.ok().and_then(|place| movie.data.get(place)) {
                let base = movie.begins.saturating_add(data.at);
                let (table, track) = (&mut self.table, self.track);
                each_kept(plan, file, clocks, &part, |sample, dts| {
                    if sample.track == track {
                        let offset = sample.offset.saturating_sub(data.from).saturating_add(base);
                        table.push(&entry(sample, dts, offset), &mut made);
                    }
                })?;
            }
            self.at = Some(part.end);
        }
        Ok((!made.is_empty()).then_some(made))
    }
}
