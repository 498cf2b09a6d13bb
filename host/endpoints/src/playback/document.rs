//! A file that is made while it is sent: a list of pieces whose lengths are known before the first byte, so that any of its
//! bytes can be asked for.

use std::sync::Arc;

use bytes::Bytes;
use wasmtx_media::container::mp4::recorded::{self, TableKind};

use super::{
    Error, fragments,
    library::Library,
    movie::{self, Movie},
    plan::{Mode, Plan, Span},
};

/// What a range is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// A fragmented MP4.
    Fragments,
    /// Its header alone.
    Header,
    /// Its parts alone.
    Parts,
    /// A plain MP4.
    Movie,
}

/// The file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) plan: Plan,
    pub(super) pieces: Vec<Piece>,
    /// Where the samples of a plain file are.
    pub(super) movie: Option<Movie>,
    pub(super) len: u64,
}

/// A part of it.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) content: Content,
    pub(super) len: u64,
}

/// How a piece is made.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// It is there.
    Bytes(Bytes),
    /// Of the parts of a recorded file.
    Parts(Span),
    /// Bytes of a recorded file as they are.
    Raw { file: u32, from: u64, to: u64 },
    /// The entries of a table of the track at this place.
    Table(usize, TableKind),
}

impl Document {
    /// Plans every byte of it.
    pub(super) fn new(library: &dyn Library, plan: Plan, form: Form) -> Result<Document, Error> {
        let mut movie = None;
        let pieces = match form {
            Form::Movie => {
                let (made, pieces) = movie::plan(library, &plan)?;
                movie = Some(made);
                pieces
            }
            Form::Header => vec![header(&plan)?],
            Form::Fragments | Form::Parts => {
                let mut pieces = Vec::with_capacity(plan.spans.len().saturating_add(1));
                if form == Form::Fragments {
                    pieces.push(header(&plan)?);
                }
                for span in &plan.spans {
                    let len = match span.mode {
                        Mode::Whole => span.to - span.from,
                        Mode::Cut | Mode::Joined => made_len(library, &plan, span)?,
                    };
                    pieces.push(Piece {
                        content: Content::Parts(*span),
                        len,
                    });
                }
                pieces
            }
        };
        let len = pieces.iter().fold(0u64, |sum, piece| sum.saturating_add(piece.len));
        Ok(Document {
            plan,
            pieces,
            movie,
            len,
        })
    }
}

fn header(plan: &Plan) -> Result<Piece, Error> {
    let bytes = recorded::fragmented(&plan.tracks)?;
    Ok(Piece {
        len: bytes.len() as u64,
        content: Content::Bytes(bytes),
    })
}

/// Bytes that the parts become that are made of a span.
fn made_len(library: &dyn Library, plan: &Plan, span: &Span) -> Result<u64, Error> {
    let file = plan.open(library, span.file)?;
    let clocks = plan.clocks(span.file, &file.header);
    let mut at = span.from;
    let mut len = 0u64;
    while at < span.to
        && let Some(made) = fragments::make(plan, &file, &clocks, span, at)?
    {
        if !made.cut.is_empty() {
            len = len.saturating_add(made.cut.len());
        }
        at = made.end;
    }
    Ok(len)
}

/// A document together with where its bytes come from.
#[derive(Clone)]
pub(super) struct Shelf {
    pub(super) document: Arc<Document>,
    pub(super) library: Arc<dyn Library>,
}
