//! What server and compile child say to each other: a request, an answer, and the next request.
//!
//! ```text
//! request   seconds u32 | memory u64 | length u32 | component
//! answer    kind u8 | length u32 | code, or the compiler's words
//! ```
//!
//! Numbers are little-endian. No length is believed beyond its bound, and no memory is reserved for one.

use std::io::{self, Read, Write};

use crate::limits::{CODE_BYTES, COMPONENT_BYTES, Limits};

/// Bytes of the compiler's words.
const WORDS_LEN: usize = 4 << 10;

const CODE: u8 = 0;
const WORDS: u8 = 1;

/// What one compilation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Processor time, whole seconds.
    pub(super) seconds: u32,
    /// Memory that the child may write to, its stack apart.
    pub(super) memory: u64,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Bounds {
        let seconds = limits.compile.as_secs_f64().ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        Bounds {
            seconds: seconds.clamp(1.0, f64::from(u32::MAX >> 8)) as u32,
            memory: limits.compile_memory as u64,
        }
    }
}

pub(super) fn write_request(mut to: impl Write, bounds: &Bounds, component: &[u8]) -> io::Result<()> {
    let len = length(component, COMPONENT_BYTES)?;
    let mut head = [0; 16];
    head[..4].copy_from_slice(&bounds.seconds.to_le_bytes());
    head[4..12].copy_from_slice(&bounds.memory.to_le_bytes());
    head[12..].copy_from_slice(&len.to_le_bytes());
    to.write_all(&head)?;
    to.write_all(component)
}

/// The next request; `None` when the other side has hung up.
pub(super) fn read_request(mut from: impl Read) -> io::Result<Option<(Bounds, Vec<u8>)>> {
    let seconds = match array(&mut from) {
        Ok(seconds) => u32::from_le_bytes(seconds),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let memory = u64::from_le_bytes(array(&mut from)?);
    let component = bytes(&mut from, COMPONENT_BYTES)?;
    Ok(Some((Bounds { seconds, memory }, component)))
}

pub(super) fn write_answer(mut to: impl Write, answer: &Result<Vec<u8>, String>) -> io::Result<()> {
    let (kind, bytes, most) = match answer {
        Ok(code) => (CODE, &code[..], CODE_BYTES),
        Err(words) => (
            WORDS,
            &words.as_bytes()[..words.floor_char_boundary(WORDS_LEN)],
            WORDS_LEN,
        ),
    };
    let len = length(bytes, most)?;
    to.write_all(&[kind])?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(bytes)
}

pub(super) fn read_answer(mut from: impl Read) -> io::Result<Result<Vec<u8>, String>> {
    match array(&mut from)? {
        [CODE] => bytes(from, CODE_BYTES).map(Ok),
        [WORDS] => bytes(from, WORDS_LEN).map(|words| Err(String::from_utf8_lossy(&words).into_owned())),
        [kind] => Err(invalid(format!("an answer of kind {kind}"))),
    }
}

fn length(bytes: &[u8], most: usize) -> io::Result<u32> {
    match u32::try_from(bytes.len()) {
        Ok(len) if bytes.len() <= most => Ok(len),
        _ => Err(invalid(format!("{} bytes, at most {most} are allowed", bytes.len()))),
    }
}

/// A length and so many bytes, `most` at most.
fn bytes(mut from: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let len = u32::from_le_bytes(array(&mut from)?);
    if len as usize > most {
        return Err(invalid(format!("{len} bytes, at most {most} are allowed")));
    }
    let mut bytes = Vec::new();
    if from.take(len.into()).read_to_end(&mut bytes)? < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn array<const N: usize>(mut from: impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        seconds: 30,
        memory: 2 << 30,
    };

    fn request(component: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        write_request(&mut wire, &BOUNDS, component).unwrap();
        wire
    }

    fn answer(answer: &Result<Vec<u8>, String>) -> Vec<u8> {
        let mut wire = Vec::new();
        write_answer(&mut wire, answer).unwrap();
        wire
    }

    #[test]
    fn what_is_written_is_read() {
        let wire = [request(b"one"), request(b"")].concat();
        let mut from = &wire[..];
        assert_eq!(read_request(&mut from).unwrap(), Some((BOUNDS, b"one".to_vec())));
        assert_eq!(read_request(&mut from).unwrap(), Some((BOUNDS, Vec::new())));
        assert_eq!(read_request(&mut from).unwrap(), None);
        for said in [Ok(b"code".to_vec()), Err("no".to_owned())] {
            assert_eq!(read_answer(&answer(&said)[..]).unwrap(), said);
        }
    }

    #[test]
    fn a_cut_answer_or_request_is_an_error_and_never_a_short_one() {
        let wire = answer(&Ok(b"code".to_vec()));
        for len in 0..wire.len() {
            assert!(read_answer(&wire[..len]).is_err(), "{len}");
        }
        let wire = request(b"component");
        for len in 4..wire.len() {
            assert!(read_request(&wire[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn lengths_beyond_their_bound_are_refused_before_anything_is_read() {
        let mut wire = request(b"");
        wire[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read_request(&wire[..]).is_err());
        for kind in [CODE, WORDS, 2] {
            let wire = [&[kind][..], &u32::MAX.to_le_bytes()].concat();
            assert!(read_answer(&wire[..]).is_err(), "{kind}");
        }
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let words = read_answer(&answer(&Err("ä".repeat(WORDS_LEN)))[..])
            .unwrap()
            .unwrap_err();
        assert_eq!(words, "ä".repeat(WORDS_LEN / 2));
    }

    #[test]
    fn bounds_are_whole_seconds_and_at_least_one() {
        let seconds = |compile| {
            Bounds::of(&Limits {
                compile,
                ..Limits::default()
            })
            .seconds
        };
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1_500)), 2);
        assert!(seconds(Duration::MAX) > 1_000_000);
    }
}
