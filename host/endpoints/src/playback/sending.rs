//! The bytes of a document from any of them on, a piece of bounded size at a time. Between two pieces nothing is held but an
//! open file and the place in it.

use std::{collections::VecDeque, ops::Range};

use bytes::{Buf, Bytes};

use super::{
    Error,
    document::{Content, Shelf},
    file::File,
    fragments,
    movie::TableWalk,
    plan::{Mode, Span},
    range::Clock,
};

/// Bytes that are read at once.
const CHUNK: u32 = 128 << 10;

/// Something to send.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// These bytes.
    Bytes(Bytes),
    /// These, of the file that is open.
    File(Range<u64>),
}

impl Item {
    fn len(&self) -> u64 {
        match self {
            Item::Bytes(bytes) => bytes.len() as u64,
            Item::File(range) => range.end.saturating_sub(range.start),
        }
    }
}

/// A document being sent.
pub(super) struct Sending {
    shelf: Shelf,
    /// The next piece to begin with.
    piece: usize,
    /// Bytes that are not to be sent, from here on.
    skip: u64,
    /// Bytes to send.
    left: u64,
    open: Option<Open>,
    /// The span that is walked, and where the walk is.
    span: Option<(Span, u64)>,
    table: Option<TableWalk>,
    queue: VecDeque<Item>,
}

struct Open {
    number: u32,
    file: File,
    clocks: Vec<Clock>,
}

impl Sending {
    /// Sends these bytes of it.
    pub(super) fn new(shelf: Shelf, bytes: Range<u64>) -> Sending {
        Sending {
            shelf,
            piece: 0,
            skip: bytes.start,
            left: bytes.end.saturating_sub(bytes.start),
            open: None,
            span: None,
            table: None,
            queue: VecDeque::new(),
        }
    }

    /// The next bytes; none at the end. Waits for the disk.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left > 0 {
            let Some(item) = self.queue.pop_front() else {
                self.advance()?;
                continue;
            };
            let len = item.len();
            if self.skip >= len {
                self.skip = self.skip.saturating_sub(len);
                continue;
            }
            let skip = std::mem::take(&mut self.skip);
            let bytes = match item {
                Item::Bytes(mut bytes) => {
                    bytes.advance(usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len()));
                    bytes
                }
                Item::File(Range { start, end }) => {
                    let start = start.saturating_add(skip);
                    let wanted = (end - start).min(self.left).min(CHUNK.into());
                    let open = self.open.as_ref().ok_or(Error::Gone)?;
                    let bytes = open.file.read(start, u32::try_from(wanted).unwrap_or(CHUNK))?;
                    if bytes.is_empty() {
                        return Err(Error::Gone);
                    }
                    let behind = start.saturating_add(bytes.len() as u64);
                    if behind < end {
                        self.queue.push_front(Item::File(behind..end));
                    }
                    bytes
                }
            };
            let bytes = bytes.slice(..usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()));
            self.left = self.left.saturating_sub(bytes.len() as u64);
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// Puts something into the queue, or passes over what is not to be sent.
    fn advance(&mut self) -> Result<(), Error> {
        if let Some((span, at)) = self.span.take() {
            return self.walk(span, at);
        }
        if let (Some(table), Some(movie)) = (&mut self.table, &self.shelf.document.movie) {
            match table.next(&*self.shelf.library, &self.shelf.document.plan, movie)? {
                Some(made) => self.queue.push_back(Item::Bytes(made.into())),
                None => self.table = None,
            }
            return Ok(());
        }
        let document = self.shelf.document.clone();
        let piece = document.pieces.get(self.piece).ok_or(Error::Gone)?;
        self.piece = self.piece.saturating_add(1);
        if self.skip >= piece.len {
            self.skip = self.skip.saturating_sub(piece.len);
            return Ok(());
        }
        match &piece.content {
            Content::Bytes(bytes) => self.queue.push_back(Item::Bytes(bytes.clone())),
            Content::Raw { file, from, to } => {
                self.open(*file)?;
                self.queue.push_back(Item::File(*from..*to));
            }
            Content::Parts(span) => self.span = Some((*span, span.from)),
            Content::Table(track, kind) => self.table = Some(TableWalk::new(*track, *kind)),
        }
        Ok(())
    }

    fn walk(&mut self, span: Span, at: u64) -> Result<(), Error> {
        if at >= span.to {
            return Ok(());
        }
        self.open(span.file)?;
        let open = self.open.as_ref().ok_or(Error::Gone)?;
        if span.mode != Mode::Whole {
            let plan = &self.shelf.document.plan;
            if let Some(made) = fragments::make(plan, &open.file, &open.clocks, &span, at)? {
                self.span = Some((span, made.end));
                self.queue.extend(fragments::made(made.cut));
            }
            return Ok(());
        }
        let Some(part) = open.file.part(at)?.filter(|part| part.end <= span.to) else {
            // Behind a writer that was cut off. What was promised is sent.
            self.queue.extend(fragments::filler(at, span.to));
            return Ok(());
        };
        self.span = Some((span, part.end));
        let len = part.end.saturating_sub(part.start);
        if self.skip >= len {
            self.skip = self.skip.saturating_sub(len);
            return Ok(());
        }
        self.queue.extend(fragments::copied(&open.file, &open.clocks, &part)?);
        Ok(())
    }

    fn open(&mut self, number: u32) -> Result<(), Error> {
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            let plan = &self.shelf.document.plan;
            let file = plan.open(&*self.shelf.library, number)?;
            let clocks = plan.clocks(number, &file.header);
            self.open = Some(Open { number, file, clocks });
        }
        Ok(())
    }
}
