//! Sessions that real clients had with this machine, as they were and with every single bit wrong.

use bytes::BytesMut;

use super::tests::START;
use super::*;

const FFMPEG: &[u8] = include_bytes!("../testdata/ffmpeg-publish.bin");
const GSTREAMER: &[u8] = include_bytes!("../testdata/gstreamer-publish.bin");
const PLAYERS: [&[u8]; 2] = [
    include_bytes!("../testdata/ffmpeg-play.bin"),
    include_bytes!("../testdata/rtmpdump-play.bin"),
];

/// What a client got to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    asked: Vec<(String, String)>,
    data: usize,
    audio: usize,
    video: usize,
    bytes: usize,
    ended: bool,
    closed: Option<Reason>,
}

fn machine() -> Connection {
    let read_timeout = Duration::from_secs(10);
    Connection::new(*START, Config { read_timeout })
}

fn drain(machine: &mut Connection, outcome: &mut Outcome) {
    loop {
        match machine.poll() {
            Output::Event(Event::Publish(ask)) => {
                outcome.asked.push((ask.path, ask.query));
                machine.accept_publish();
            }
            Output::Event(Event::Play(ask)) => {
                outcome.asked.push((ask.path, ask.query));
                machine.accept_play();
            }
            Output::Event(Event::Media(message)) => {
                outcome.bytes += message.payload.len();
                match message.kind {
                    Kind::Audio => outcome.audio += 1,
                    _ => outcome.video += 1,
                }
            }
            Output::Event(Event::Data { .. }) => outcome.data += 1,
            Output::Event(Event::Ended) => outcome.ended = true,
            Output::Event(Event::Pause(_)) | Output::Send(_) => {}
            Output::WaitUntil(_) => return,
            Output::Close(reason) => {
                outcome.closed = Some(reason);
                return;
            }
        }
    }
}

fn replay(session: &[u8], piece: usize) -> Outcome {
    let (mut machine, mut outcome) = (machine(), Outcome::default());
    for piece in session.chunks(piece) {
        machine.handle_input(*START, &mut BytesMut::from(piece));
        drain(&mut machine, &mut outcome);
    }
    outcome
}

#[test]
fn real_publishers_publish_whatever_pieces_they_send() {
    let ffmpeg = Outcome {
        asked: vec![("live/key".to_owned(), "user=u".to_owned())],
        data: 1,
        audio: 67,
        video: 25,
        bytes: 18_888,
        ended: true,
        closed: None,
    };
    for piece in [1, 100, 1537, usize::MAX] {
        assert_eq!(replay(FFMPEG, piece), ffmpeg);
        assert_eq!(replay(GSTREAMER, piece).asked, [("app/gst".to_owned(), String::new())]);
    }
}

#[test]
fn real_players_play() {
    for session in PLAYERS {
        let outcome = replay(session, usize::MAX);
        assert_eq!(outcome.asked, [("live/key".to_owned(), String::new())]);
        assert_eq!(outcome.closed, None);
    }
}

/// The bytes of a client's handshake.
const HANDSHAKE_LENGTH: usize = 3_073;
/// Bits are flipped in a block of this many bytes, each time from where the session stood before it…
const BLOCK: usize = 128;
/// … and this much of the session follows, at every [`FAR`]th flip all of it.
const NEAR: usize = 2_048;
const FAR: usize = 16;

/// The machine where it stands; only its handshake and its writer, which begins every message anew, are not copied.
fn copy(machine: &Connection) -> Connection {
    assert!(machine.handshake.is_none() && machine.output.is_empty());
    Connection {
        config: machine.config,
        handshake: None,
        reader: machine.reader.clone(),
        writer: Writer::default(),
        input: machine.input.clone(),
        output: VecDeque::new(),
        parts: machine.parts.clone(),
        connect: machine.connect.clone(),
        acknowledgements: machine.acknowledgements.clone(),
        ..*machine
    }
}

/// Every bit of a session wrong once. Gives how many that were.
fn flip_every_bit(session: &[u8]) -> usize {
    let (mut machine, mut flips) = (machine(), 0);
    let (handshake, rest) = session.split_at(HANDSHAKE_LENGTH);
    machine.handle_input(*START, &mut BytesMut::from(handshake));
    drain(&mut machine, &mut Outcome::default());
    for start in (0..rest.len()).step_by(BLOCK) {
        let mut flipped = rest[start..].to_vec();
        let block = flipped.len().min(BLOCK);
        for bit in 0..8 * block {
            let end = if bit % FAR == 0 {
                flipped.len()
            } else {
                flipped.len().min(block + NEAR)
            };
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut machine = copy(&machine);
            machine.handle_input(*START, &mut BytesMut::from(&flipped[..end]));
            drain(&mut machine, &mut Outcome::default());
            machine.reader.check_invariants();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
        }
        machine.handle_input(*START, &mut BytesMut::from(&flipped[..block]));
        drain(&mut machine, &mut Outcome::default());
    }
    assert_eq!(machine.state(), State::Ended, "the session itself went through");
    flips
}

#[test]
fn no_wrong_bit_in_a_session_of_ffmpeg_breaks_the_machine() {
    assert!(flip_every_bit(FFMPEG) > 160_000);
}

#[test]
fn no_wrong_bit_in_a_session_of_gstreamer_breaks_the_machine() {
    assert!(flip_every_bit(GSTREAMER) > 110_000);
}

#[test]
fn no_wrong_bit_in_a_handshake_breaks_the_machine() {
    let mut flipped = FFMPEG[..HANDSHAKE_LENGTH].to_vec();
    // All of what has a meaning, then samples of what is random.
    for bit in (0..8 * 32).chain((8 * 32..8 * HANDSHAKE_LENGTH).step_by(61)) {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outcome = replay(&flipped, usize::MAX);
        let version = bit < 8;
        assert_eq!(outcome.closed.is_some(), version, "only the version is looked at");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}
