//! RTMP below the sessions: handshake, chunks, AMF0, messages, URLs.

use bytes::{Bytes, BytesMut};
use wasmtx_protocol::rtmp::amf0::{self, MAX_DEPTH, MAX_VALUES, Value};
use wasmtx_protocol::rtmp::chunk::{Reader, Writer};
use wasmtx_protocol::rtmp::client::Url;
use wasmtx_protocol::rtmp::message::{Aggregate, UserControl};
use wasmtx_protocol::rtmp::{Capabilities, Command, Error, Handshake, Kind, Message};

/// A handshake reads this much and no more.
const HANDSHAKE: usize = 3_073;

/// F24: the first byte chooses the side, how the rest is split, and whether it is repeated until a handshake is full.
pub(crate) fn handshake(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut stream = data.to_vec();
    if mode % 8 == 1 && !data.is_empty() {
        stream = data.iter().copied().cycle().take(HANDSHAKE + data.len()).collect();
    }
    let side = || match mode & 0x80 {
        0 => Ok(Handshake::server()),
        _ => Handshake::client().map(|(handshake, _)| handshake),
    };
    let run = |step: usize| -> Result<(usize, usize, bool), Error> {
        let (mut handshake, mut input) = (side()?, BytesMut::new());
        let (mut read, mut answered) = (0, 0);
        for piece in stream.chunks(step) {
            input.extend_from_slice(piece);
            let before = input.len();
            while let Some(answer) = handshake.handle(&mut input)? {
                answered += answer.len();
            }
            read += before - input.len();
        }
        assert!(read <= HANDSHAKE && answered <= HANDSHAKE);
        assert_eq!(handshake.is_done(), read == HANDSHAKE);
        Ok((read, answered, handshake.is_done()))
    };
    assert_eq!(run(usize::from(*mode).max(1) * 8), run(usize::MAX));
}

fn read(trusted: bool, pieces: &[&[u8]]) -> (Vec<Message>, Result<(), Error>) {
    let (mut reader, mut input, mut messages) = (Reader::new(), BytesMut::new(), Vec::new());
    if trusted {
        reader.trust();
    }
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let result = reader.read(&mut input);
            reader.check_invariants();
            match result {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    (messages, Ok(()))
}

/// F25: the first byte chooses how the rest is split. The same messages come out of any split, none of them longer than
/// what came in, and what is written again is read again.
pub(crate) fn chunks(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let trusted = mode & 0x80 != 0;
    let whole = read(trusted, &[data]);
    let pieces: Vec<&[u8]> = data.chunks(usize::from(mode & 0x7f).max(1)).collect();
    assert_eq!(read(trusted, &pieces), whole);
    let total: usize = whole.0.iter().map(|message| message.payload.len()).sum();
    assert!(total <= data.len());

    let mut writer = Writer::new(u32::from(*mode).max(1));
    let mut bytes = Writer::default().resize(u32::from(*mode).max(1)).to_vec();
    // A message without a payload has no chunks of ours.
    let written: Vec<Message> = whole
        .0
        .into_iter()
        .filter(|message| !message.payload.is_empty())
        .collect();
    for message in &written {
        let payload = message.payload.clone();
        bytes.extend(
            writer
                .write(message.kind, message.timestamp, message.stream, payload)
                .unwrap_or_default(),
        );
    }
    assert_eq!(read(true, &[&bytes]), (written, Ok(())));
}

/// F26: what was read is written to something that reads the same, within its bounds.
pub(crate) fn amf0(data: &[u8]) {
    let Ok(values) = amf0::read_all(data) else { return };
    let count: usize = values.iter().map(|value| measure(value, 0)).sum();
    assert!(count <= MAX_VALUES);
    let written = amf0::write(&values);
    let again = amf0::read_all(&written).expect("our own bytes");
    // Bytes are compared, for one not-a-number is not equal to another.
    assert_eq!(amf0::write(&again), written);
    for value in &values {
        let _ = Capabilities::read(value);
    }
}

/// How many values this one is.
fn measure(value: &Value, depth: usize) -> usize {
    let inner = |value| measure(value, depth + 1);
    1 + match value {
        Value::Object(properties) | Value::Ecma(properties) => {
            assert!(depth < MAX_DEPTH);
            properties.iter().map(|(_, value)| inner(value)).sum()
        }
        Value::Array(values) => {
            assert!(depth < MAX_DEPTH);
            values.iter().map(inner).sum()
        }
        _ => 0,
    }
}

/// F27: the first byte is the kind of a message: commands and data of AMF3, and all others that have a grammar.
pub(crate) fn messages(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else {
        return;
    };
    let message = Message {
        kind: Kind::from_id(*kind),
        timestamp: 0xffff_fff0,
        stream: 1,
        payload: Bytes::copy_from_slice(payload),
    };
    match message.kind {
        Kind::UserControl => {
            if let Ok(control) = UserControl::read(payload) {
                assert_eq!(UserControl::read(&control.to_bytes()), Ok(control));
            }
        }
        Kind::Aggregate => {
            let parts: Vec<_> = Aggregate::new(message).collect();
            let total: usize = parts.iter().flatten().map(|part| part.payload.len()).sum();
            assert!(total <= payload.len());
            let errors = parts.iter().filter(|part| part.is_err()).count();
            assert!(errors == 0 || (errors == 1 && parts.last().is_some_and(Result::is_err)));
        }
        _ => {
            if let Ok(command) = Command::read(&message) {
                let payload = command.to_bytes();
                let written = Message {
                    kind: Kind::Command,
                    payload: payload.clone(),
                    ..message
                };
                let again = Command::read(&written).expect("our own bytes");
                assert_eq!(again.to_bytes(), payload);
            }
        }
    }
}

/// The URLs of sources and destinations.
pub(crate) fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = Url::parse(text) else { return };
    assert!(url.port != 0 && !url.host.is_empty());
    // What `connect` says leads to the same place and app, as long as the app has nothing that means something else.
    if !url.app.contains(['/', '?', '#', '@']) && !url.host.contains(['[', ']', '/', '@', '%']) {
        let again = Url::parse(&url.tc_url()).expect("our own text");
        assert_eq!((again.host, again.port, again.app), (url.host, url.port, url.app));
    }
}
