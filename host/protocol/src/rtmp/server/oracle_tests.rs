//! The client of `rml_rtmp`, written by others, against this machine.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use rml_rtmp::handshake::{Handshake as TheirHandshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType, StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;

use super::tests::START;
use super::*;
use crate::rtmp::amf0::{self, Value};
use crate::rtmp::chunk::MEDIA_STREAM;

/// Both sides; what one sends the other gets at once.
struct Pair {
    theirs: ClientSession,
    ours: Connection,
    /// What their side was told.
    told: Vec<ClientSessionEvent>,
    /// What our side was told, but for questions: those are accepted.
    events: Vec<Event>,
    asked: Option<Ask>,
}

impl Pair {
    /// Connected to an app.
    fn new(app: &str) -> Pair {
        let read_timeout = Duration::from_secs(10);
        let mut ours = Connection::new(*START, Config { read_timeout });
        let mut handshake = TheirHandshake::new(PeerType::Client);
        let mut sent = handshake.generate_outbound_p0_and_p1().unwrap();
        loop {
            ours.handle_input(*START, &mut BytesMut::from(&sent[..]));
            let mut answer = Vec::new();
            while let Output::Send(bytes) = ours.poll() {
                answer.extend_from_slice(&bytes);
            }
            match handshake.process_bytes(&answer).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => sent = response_bytes,
                HandshakeProcessResult::Completed { response_bytes, .. } => {
                    ours.handle_input(*START, &mut BytesMut::from(&response_bytes[..]));
                    break;
                }
            }
        }
        let mut config = ClientSessionConfig::new();
        config.tc_url = Some(format!("rtmp://h/{app}"));
        let (theirs, results) = ClientSession::new(config).unwrap();
        let mut pair = Pair {
            theirs,
            ours,
            told: Vec::new(),
            events: Vec::new(),
            asked: None,
        };
        pair.run(results);
        let result = pair.theirs.request_connection(app.to_owned()).unwrap();
        pair.run(vec![result]);
        assert!(pair.told.contains(&ClientSessionEvent::ConnectionRequestAccepted));
        pair
    }

    /// Carries to and fro what follows from these results.
    fn run(&mut self, results: Vec<ClientSessionResult>) {
        let mut results = VecDeque::from(results);
        while let Some(result) = results.pop_front() {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.ours.handle_input(*START, &mut BytesMut::from(&packet.bytes[..]));
                    results.extend(self.drain());
                }
                ClientSessionResult::RaisedEvent(event) => self.told.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    fn drain(&mut self) -> Vec<ClientSessionResult> {
        let mut results = Vec::new();
        loop {
            match self.ours.poll() {
                Output::Send(bytes) => results.extend(self.theirs.handle_input(&bytes).unwrap()),
                Output::Event(Event::Publish(ask)) => {
                    self.asked = Some(ask);
                    self.ours.accept_publish();
                }
                Output::Event(Event::Play(ask)) => {
                    self.asked = Some(ask);
                    self.ours.accept_play();
                }
                Output::Event(event) => self.events.push(event),
                Output::WaitUntil(_) => return results,
                Output::Close(reason) => panic!("{reason}"),
            }
        }
    }
}

#[test]
fn their_client_publishes() {
    let mut pair = Pair::new("app");
    let result = pair
        .theirs
        .request_publishing("key".to_owned(), PublishRequestType::Live);
    pair.run(vec![result.unwrap()]);
    assert_eq!(pair.asked.as_ref().map(|ask| ask.path.as_str()), Some("app/key"));
    assert!(pair.told.contains(&ClientSessionEvent::PublishRequestAccepted));

    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(640);
    let results = [
        pair.theirs.publish_metadata(&metadata),
        pair.theirs
            .publish_video_data(vec![1; 100_000].into(), RtmpTimestamp::new(40), false),
        pair.theirs
            .publish_audio_data(vec![2; 100].into(), RtmpTimestamp::new(50), false),
        pair.theirs
            .publish_video_data(vec![3; 5_000].into(), RtmpTimestamp::new(80), false),
    ];
    pair.run(results.into_iter().map(|result| result.unwrap()).collect());
    let [Event::Data { name, values, .. }, media @ ..] = &pair.events[..] else {
        panic!("{:?}", pair.events);
    };
    assert_eq!(name, "onMetaData");
    assert_eq!(values[0].property("width"), Some(&Value::Number(640.0)));
    let media: Vec<_> = media
        .iter()
        .map(|event| match event {
            Event::Media(message) => (message.kind, message.timestamp, message.payload.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        media,
        [
            (Kind::Video, 40, 100_000),
            (Kind::Audio, 50, 100),
            (Kind::Video, 80, 5_000)
        ]
    );

    let results = pair.theirs.stop_publishing().unwrap();
    pair.run(results);
    assert!(matches!(pair.events.last(), Some(Event::Ended)));
}

#[test]
fn their_client_plays_what_a_shared_writer_wrote() {
    let mut pair = Pair::new("app");
    let result = pair.theirs.request_playback("key?token=x".to_owned());
    pair.run(vec![result.unwrap()]);
    assert_eq!(pair.asked.as_ref().map(|ask| ask.query.as_str()), Some("token=x"));
    assert!(pair.told.contains(&ClientSessionEvent::PlaybackRequestAccepted));

    let mut shared = Writer::new(CHUNK_SIZE);
    let metadata = amf0::write(&["onMetaData".into(), amf0::object([("width", 640.0.into())])]);
    for (kind, time, payload) in [
        (Kind::Data, 0, metadata),
        (Kind::Video, 1000, vec![1; 100_000]),
        (Kind::Audio, 0x0100_0000, vec![2; 100_000]),
        (Kind::Audio, 1020, vec![3; 10]),
    ] {
        let bytes = shared.write(kind, time, MEDIA_STREAM, payload.into()).unwrap();
        let results = pair.theirs.handle_input(&bytes).unwrap();
        pair.run(results);
        // Answers of the machine go in between, as they do on a socket.
        let ping = pair.theirs.send_ping_request().unwrap().0;
        pair.run(vec![ClientSessionResult::OutboundResponse(ping)]);
    }
    let media: Vec<_> = pair
        .told
        .iter()
        .filter_map(|event| match event {
            ClientSessionEvent::VideoDataReceived { timestamp, data }
            | ClientSessionEvent::AudioDataReceived { timestamp, data } => Some((timestamp.value, data.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(
        media,
        [
            (1000, Bytes::from(vec![1; 100_000])),
            (0x0100_0000, Bytes::from(vec![2; 100_000])),
            (1020, Bytes::from(vec![3; 10]))
        ]
    );
    let metadata = pair.told.iter().find_map(|event| match event {
        ClientSessionEvent::StreamMetadataReceived { metadata } => metadata.video_width,
        _ => None,
    });
    assert_eq!(metadata, Some(640));
    let pongs = pair
        .told
        .iter()
        .filter(|event| matches!(event, ClientSessionEvent::PingResponseReceived { .. }));
    assert_eq!(pongs.count(), 4);
}
