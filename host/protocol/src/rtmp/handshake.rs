//! The handshake (RTMP 1.0 section 5.2), and the variant with digests that Flash Player 9 brought.
//!
//! `rml_rtmp` knows both. It is fed whole packets only, so that it holds nothing a peer can make grow, and answers a
//! server's packets in one piece.
//!
//! ```text
//! client                          server
//! C0: version 8 bits  ─────────▶
//! C1: 1,536 bytes     ─────────▶
//!                     ◀─────────  S0, S1, S2: the answer to C1
//! C2: answer to S1    ─────────▶
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use bytes::{Bytes, BytesMut};
use rml_rtmp::handshake::{Handshake as Inner, HandshakeProcessResult, PeerType};

use super::Error;

/// The length of the packets 1 and 2.
const PACKET: usize = 1536;
/// The version of plain RTMP.
const VERSION: u8 = 3;

const FIRST: usize = 1 + PACKET;

/// One side's handshake. Reads 3,073 bytes and not one more.
pub struct Handshake {
    inner: Inner,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer's packets 0 and 1 are awaited.
    First,
    /// The peer's packet 2 is awaited.
    Second,
    Done,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Handshake {
    /// The side that waits for the other one to begin.
    pub fn server() -> Handshake {
        Handshake {
            inner: Inner::new(PeerType::Server),
            stage: Stage::First,
        }
    }

    /// The side that begins, and what it begins with.
    pub fn client() -> Result<(Handshake, Bytes), Error> {
        let mut inner = Inner::new(PeerType::Client);
        let first = inner.generate_outbound_p0_and_p1().map_err(|_| Error::Handshake)?;
        let stage = Stage::First;
        Ok((Handshake { inner, stage }, Bytes::from(first)))
    }

    /// Takes the next packet out of `input` and gives what is to be sent for it; `None` when more bytes are needed or
    /// the handshake [is done](Handshake::is_done).
    pub fn handle(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let (length, next) = match self.stage {
            Stage::First => (FIRST, Stage::Second),
            Stage::Second => (PACKET, Stage::Done),
            Stage::Done => return Ok(None),
        };
        if let (Stage::First, Some(version)) = (self.stage, input.first())
            && *version != VERSION
        {
            return Err(Error::Version(*version));
        }
        if input.len() < length {
            return Ok(None);
        }
        let packet = input.split_to(length);
        let result = self.inner.process_bytes(&packet).map_err(|_| Error::Handshake)?;
        let (HandshakeProcessResult::InProgress { response_bytes }
        | HandshakeProcessResult::Completed { response_bytes, .. }) = result;
        self.stage = next;
        Ok(Some(Bytes::from(response_bytes)))
    }

    /// Whether what follows are chunks.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds byte by byte; gives what was answered.
    fn feed(handshake: &mut Handshake, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut input = BytesMut::new();
        let mut answers = Vec::new();
        for byte in bytes {
            input.extend_from_slice(&[*byte]);
            while let Some(answer) = handshake.handle(&mut input)? {
                answers.extend_from_slice(&answer);
            }
        }
        assert!(input.is_empty() || !handshake.is_done());
        Ok(answers)
    }

    #[test]
    fn both_sides_come_to_an_end_with_each_other() {
        let (mut client, first) = Handshake::client().unwrap();
        let mut server = Handshake::server();
        let answer = feed(&mut server, &first).unwrap();
        assert_eq!(answer.len(), 1 + 2 * PACKET);
        let second = feed(&mut client, &answer).unwrap();
        assert_eq!(second.len(), PACKET);
        assert!(client.is_done() && !server.is_done());
        assert_eq!(feed(&mut server, &second), Ok(Vec::new()));
        assert!(server.is_done());
    }

    #[test]
    fn a_simple_handshake_gets_its_own_bytes_back() {
        let mut first = vec![VERSION];
        first.extend([0; 8]);
        first.extend((8..PACKET).map(|i| (i % 251) as u8));
        let answer = feed(&mut Handshake::server(), &first).unwrap();
        assert_eq!(answer[FIRST..], first[1..]);
    }

    #[test]
    fn bytes_behind_the_handshake_stay_where_they_are() {
        let mut input = BytesMut::from(&[VERSION; FIRST + PACKET + 5][..]);
        let mut server = Handshake::server();
        while server.handle(&mut input).unwrap().is_some() {}
        assert!(server.is_done());
        assert_eq!(input.len(), 5);
    }

    #[test]
    fn another_version_is_refused_with_its_first_byte() {
        for version in [0, 6, b'G', 0x16, 255] {
            assert_eq!(feed(&mut Handshake::server(), &[version]), Err(Error::Version(version)));
        }
    }
}
