//! The tables of a plain file (ISO/IEC 14496-12 section 8.6 and 8.7), made one entry at a time: samples go in, finished entries
//! come out, and nothing is held but the entry that still grows. A table of a day is larger than what a request may hold.
//!
//! A table begins with the number of its entries, so a [`Tally`] runs over all samples first.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// A sample as the tables see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ticks; the tables tell only how far apart.
    pub dts: i64,
    /// Ticks from decoding to presentation.
    pub later: i32,
    /// Ticks; counts for the last sample only, the others last until the next.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Decoding may start here.
    pub sync: bool,
    /// Where in the new file its bytes begin.
    pub offset: u64,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// `stts`: how long samples last.
    Durations,
    /// `ctts`: how much later than decoded they are shown.
    Delays,
    /// `stss`: where decoding may start.
    Syncs,
    /// `stsc`: how many samples stand together.
    Chunks,
    /// `stsz`: how large they are.
    Sizes,
    /// `co64`: where those stand that stand together.
    Offsets,
}

impl TableKind {
    /// All, in the order of the file.
    pub const ALL: [TableKind; 6] = [
        TableKind::Durations,
        TableKind::Delays,
        TableKind::Syncs,
        TableKind::Chunks,
        TableKind::Sizes,
        TableKind::Offsets,
    ];

    pub(super) fn letters(self) -> [u8; 4] {
        match self {
            TableKind::Durations => *b"stts",
            TableKind::Delays => *b"ctts",
            TableKind::Syncs => *b"stss",
            TableKind::Chunks => *b"stsc",
            TableKind::Sizes => *b"stsz",
            TableKind::Offsets => *b"co64",
        }
    }

    /// Bytes of an entry.
    fn width(self) -> u64 {
        match self {
            TableKind::Durations | TableKind::Delays | TableKind::Offsets => 8,
            TableKind::Syncs | TableKind::Sizes => 4,
            TableKind::Chunks => 12,
        }
    }
}

/// One table of one track, being made.
#[derive(Clone, Debug)]
pub struct Table {
    kind: TableKind,
    /// Samples so far.
    samples: u32,
    last: Option<Entry>,
    /// An entry that stands for several samples, and still grows: how many, of what.
    run: Option<(u32, u32)>,
    /// Chunks so far, samples in the present one, and in those of the last entry.
    chunks: u32,
    in_chunk: u32,
    per_chunk: u32,
}

impl Table {
    /// An empty one.
    pub fn new(kind: TableKind) -> Table {
        Table {
            kind,
            samples: 0,
            last: None,
            run: None,
            chunks: 0,
            in_chunk: 0,
            per_chunk: 0,
        }
    }

    /// Takes the next sample of the track, and appends what is certain now.
    pub fn push(&mut self, entry: &Entry, into: &mut Vec<u8>) {
        self.samples = self.samples.saturating_add(1);
        match self.kind {
            TableKind::Durations => {
                if let Some(last) = self.last {
                    let lasts = entry.dts.saturating_sub(last.dts).max(0);
                    self.count(u32::try_from(lasts).unwrap_or(u32::MAX), into);
                }
            }
            TableKind::Delays => self.count(entry.later.cast_unsigned(), into),
            TableKind::Syncs if entry.sync => put(into, &[self.samples]),
            TableKind::Syncs => {}
            TableKind::Sizes => put(into, &[entry.size]),
            TableKind::Chunks | TableKind::Offsets => {
                let end = self.last.map(|last| last.offset.saturating_add(last.size.into()));
                if end != Some(entry.offset) {
                    self.end_chunk(into);
                    self.chunks = self.chunks.saturating_add(1);
                    if self.kind == TableKind::Offsets {
                        into.extend_from_slice(&entry.offset.to_be_bytes());
                    }
                }
                self.in_chunk = self.in_chunk.saturating_add(1);
            }
        }
        self.last = Some(*entry);
    }

    /// Appends what waited for a sample that does not come.
    pub fn finish(mut self, into: &mut Vec<u8>) {
        if let (TableKind::Durations, Some(last)) = (self.kind, self.last) {
            self.count(last.duration, into);
        }
        if let Some((count, value)) = self.run.take() {
            put(into, &[count, value]);
        }
        self.end_chunk(into);
    }

    fn count(&mut self, value: u32, into: &mut Vec<u8>) {
        match &mut self.run {
            Some((count, of)) if *of == value => *count = count.saturating_add(1),
            run => {
                if let Some((count, of)) = run.replace((1, value)) {
                    put(into, &[count, of]);
                }
            }
        }
    }

    fn end_chunk(&mut self, into: &mut Vec<u8>) {
        let samples = std::mem::take(&mut self.in_chunk);
        if self.kind == TableKind::Chunks && samples != 0 && samples != self.per_chunk {
            put(into, &[self.chunks, samples, 1]);
            self.per_chunk = samples;
        }
    }
}

/// What must be known of a track before the first of its tables can be written.
#[derive(Clone, Debug)]
pub struct Tally {
    tables: [Table; 6],
    bytes: [u64; 6],
    scratch: Vec<u8>,
    first: Option<Entry>,
    last: Option<Entry>,
    /// The latest moment at which a sample's presentation ends.
    end: i64,
    all_sync: bool,
    none_later: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            tables: TableKind::ALL.map(Table::new),
            bytes: [0; 6],
            scratch: Vec::new(),
            first: None,
            last: None,
            end: 0,
            all_sync: true,
            none_later: true,
        }
    }
}

impl Tally {
    /// Counts the next sample of the track.
    pub fn push(&mut self, entry: &Entry) {
        for (table, bytes) in self.tables.iter_mut().zip(&mut self.bytes) {
            self.scratch.clear();
            table.push(entry, &mut self.scratch);
            *bytes = bytes.saturating_add(length(&self.scratch));
        }
        let shown = entry.dts.saturating_add(entry.later.into());
        self.end = self.end.max(shown.saturating_add(entry.duration.into()));
        self.all_sync &= entry.sync;
        self.none_later &= entry.later == 0;
        self.first.get_or_insert(*entry);
        self.last = Some(*entry);
    }

    /// The last sample has been counted.
    pub fn finish(&mut self) {
        for (table, bytes) in self.tables.iter_mut().zip(&mut self.bytes) {
            self.scratch.clear();
            std::mem::replace(table, Table::new(table.kind)).finish(&mut self.scratch);
            *bytes = bytes.saturating_add(length(&self.scratch));
        }
        self.scratch = Vec::new();
    }

    /// The tables that the track needs, each with its entries.
    pub fn tables(&self) -> impl Iterator<Item = (TableKind, u64)> {
        let needed = |kind: &TableKind| match kind {
            TableKind::Delays => !self.none_later,
            TableKind::Syncs => !self.all_sync,
            _ => true,
        };
        let counted = TableKind::ALL.into_iter().zip(self.bytes);
        let entries = |(kind, bytes): (TableKind, u64)| (kind, bytes.checked_div(kind.width()).unwrap_or_default());
        counted.filter(move |(kind, _)| needed(kind)).map(entries)
    }

    /// Bytes of the entries of a table.
    pub fn bytes(&self, kind: TableKind) -> u64 {
        let counted = TableKind::ALL.into_iter().zip(self.bytes);
        counted
            .filter(|(counted, _)| *counted == kind)
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// The first sample; none was counted without.
    pub fn first(&self) -> Option<&Entry> {
        self.first.as_ref()
    }

    /// Ticks from the decoding of the first sample to the end of the last.
    pub(super) fn duration(&self) -> u64 {
        let (Some(first), Some(last)) = (&self.first, &self.last) else {
            return 0;
        };
        let end = last.dts.saturating_add(last.duration.into());
        u64::try_from(end.saturating_sub(first.dts)).unwrap_or_default()
    }

    /// The latest end of a sample's presentation, ticks.
    pub(super) fn end(&self) -> i64 {
        self.end
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn put(bytes: &mut Vec<u8>, fields: &[u32]) {
    for field in fields {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
}
