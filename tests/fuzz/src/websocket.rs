//! WebSocket frames, as a client sends them.

use bytes::BytesMut;
use wasmtx_protocol::websocket::{Receiver, Said, Violation};

/// Bytes that a receiver may leave behind: less than a whole control frame.
const KEPT: usize = 14 + 125;

/// Everything that is said, and how it ended.
fn hear<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Said>, Result<(), Violation>) {
    let (mut receiver, mut input, mut all) = (Receiver::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match receiver.handle(&mut input) {
                Ok(Some(said)) => all.push(said),
                Ok(None) => break,
                Err(violation) => return (all, Err(violation)),
            }
        }
        assert!(input.len() < KEPT);
    }
    (all, Ok(()))
}

/// The first byte chooses how the rest is split; the same is understood, and no control frame is longer than it may be.
pub(crate) fn frames(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let whole = hear(std::iter::once(data));
    assert_eq!(hear(data.chunks(usize::from(*step).max(1))), whole);
    for said in &whole.0 {
        assert!(!matches!(said, Said::Ping(payload) if payload.len() > 125));
    }
}
