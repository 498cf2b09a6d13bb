//! The bytes of a frame, which a plugin may have put together from several pieces.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};

/// The bytes of a frame: one run, or pieces that nobody has joined yet.
///
/// Cloning and slicing copy nothing. Used as [`Bytes`], pieces are joined: once, however many clones there are, and not
/// before somebody needs them as one run. A path that nobody reads does not pay for it, and a chain of plugins that each put
/// something in front pays once.
#[derive(Clone)]
pub struct Payload(Form);

#[derive(Clone)]
enum Form {
    Whole(Bytes),
    Pieces(Arc<Pieces>),
}

struct Pieces {
    pieces: Vec<Bytes>,
    /// Sum of their lengths.
    len: usize,
    whole: OnceLock<Bytes>,
}

impl Payload {
    /// Pieces in their order. One piece alone is shared as it is.
    pub fn of_pieces(mut pieces: Vec<Bytes>) -> Payload {
        pieces.retain(|piece| !piece.is_empty());
        if pieces.len() < 2 {
            return pieces.pop().unwrap_or_default().into();
        }
        Payload(Form::Pieces(Arc::new(Pieces {
            len: pieces.iter().map(Bytes::len).sum(),
            pieces,
            whole: OnceLock::new(),
        })))
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Whole(bytes) => bytes.len(),
            Form::Pieces(pieces) => pieces.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes piece by piece, without joining them.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Form::Whole(bytes) => std::slice::from_ref(bytes),
            Form::Pieces(pieces) => match pieces.whole.get() {
                Some(whole) => std::slice::from_ref(whole),
                None => &pieces.pieces,
            },
        }
    }

    /// A part of the bytes, in pieces; what lies outside is left out.
    pub fn part(&self, range: Range<usize>) -> Vec<Bytes> {
        let mut parts = Vec::with_capacity(1);
        let mut begins = 0usize;
        for piece in self.pieces() {
            let from = range.start.max(begins) - begins;
            let to = range.end.saturating_sub(begins).min(piece.len());
            if from < to {
                parts.push(piece.slice(from..to));
            }
            begins += piece.len();
        }
        parts
    }

    /// Copies the first bytes, as many as fit and are there; the rest of `into` stays as it is.
    pub fn lead(&self, into: &mut [u8]) {
        let mut filled = 0;
        for piece in self.pieces() {
            let len = piece.len().min(into.len() - filled);
            into[filled..filled + len].copy_from_slice(&piece[..len]);
            filled += len;
            if filled == into.len() {
                return;
            }
        }
    }
}

impl Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        match &self.0 {
            Form::Whole(bytes) => bytes,
            Form::Pieces(pieces) => pieces.whole.get_or_init(|| {
                // A copy: whoever asks wants one run.
                let mut joined = BytesMut::with_capacity(pieces.len);
                pieces.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.freeze()
            }),
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Bytes::new().into()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload(Form::Whole(bytes))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Payload {
        Bytes::from_static(bytes).into()
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Bytes {
        match payload.0 {
            Form::Whole(bytes) => bytes,
            Form::Pieces(_) => (*payload).clone(),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl PartialEq<Bytes> for Payload {
    fn eq(&self, other: &Bytes) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: &[&'static str]) -> Payload {
        Payload::of_pieces(
            pieces
                .iter()
                .map(|piece| Bytes::from_static(piece.as_bytes()))
                .collect(),
        )
    }

    #[test]
    fn pieces_are_joined_once_and_for_all_clones() {
        let payload = pieces(&["ab", "", "cde"]);
        assert_eq!((payload.len(), payload.pieces().len()), (5, 2));
        let clone = payload.clone();
        assert_eq!(**payload, *b"abcde");
        assert_eq!(clone.as_ptr(), payload.as_ptr());
        assert_eq!(clone.pieces().len(), 1);
    }

    #[test]
    fn one_piece_is_shared() {
        let bytes = Bytes::from_static(b"abc");
        let payload = Payload::of_pieces(vec![Bytes::new(), bytes.clone()]);
        assert_eq!(payload.as_ptr(), bytes.as_ptr());
        assert!(Payload::of_pieces(Vec::new()).is_empty());
    }

    #[test]
    fn a_part_is_cut_to_what_is_there_whatever_the_pieces() {
        let payload = pieces(&["ab", "cde", "f"]);
        let whole = Payload::from(&b"abcdef"[..]);
        for start in 0..8 {
            for end in 0..9 {
                let joined = payload.part(start..end).concat();
                assert_eq!(joined, whole.part(start..end).concat(), "{start}..{end}");
                let expected = b"abcdef".get(start.min(6)..end.min(6)).unwrap_or_default();
                assert_eq!(joined, expected, "{start}..{end}");
            }
        }
        assert_eq!(payload.part(2..5).len(), 1, "inside one piece, nothing is joined");
    }

    #[test]
    fn the_first_bytes_come_from_as_many_pieces_as_it_takes() {
        for (len, expected) in [(0, &b""[..]), (1, b"a"), (4, b"abcd"), (8, b"abcdef\0\0")] {
            let mut lead = vec![0; len];
            pieces(&["ab", "cde", "f"]).lead(&mut lead);
            assert_eq!(lead, expected);
        }
    }
}
