//! The same over WebSockets. What is written and read here is checked against another implementation of RFC 6455.

use std::io::Cursor;

use tungstenite::{
    handshake::derive_accept_key,
    protocol::frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];
const MASK: [u8; 4] = [1, 2, 3, 4];

impl Client {
    /// The next frame: its kind and payload.
    async fn frame(&mut self) -> (OpCode, Vec<u8>) {
        loop {
            let mut cursor = Cursor::new(&self.input[..]);
            if let Some((header, len)) = FrameHeader::parse(&mut cursor).unwrap() {
                assert!(header.is_final && header.mask.is_none());
                let (start, len) = (
                    usize::try_from(cursor.position()).unwrap(),
                    usize::try_from(len).unwrap(),
                );
                if self.input.len() >= start + len {
                    let frame = self.input.split_to(start + len);
                    return (header.opcode, frame[start..].to_vec());
                }
            }
            assert!(self.read().await, "the connection is over");
        }
    }

    /// The tags of the next message.
    async fn message(&mut self) -> Vec<Tag> {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, OpCode::Data(Data::Binary));
        let mut payload = BytesMut::from(&payload[..]);
        let tags = std::iter::from_fn(|| self.reader.next(&mut payload).unwrap()).collect();
        assert!(payload.is_empty(), "a message holds whole tags");
        tags
    }

    async fn hear_message(&mut self, payload: &[u8]) {
        let has = |tags: Vec<Tag>| tags.iter().any(|tag| tag.payload.ends_with(payload));
        while !has(self.message().await) {}
    }

    async fn send(&mut self, kind: OpCode, payload: &[u8]) {
        let header = FrameHeader {
            opcode: kind,
            mask: Some(MASK),
            ..FrameHeader::default()
        };
        let mut frame = Vec::new();
        header.format(payload.len() as u64, &mut frame).unwrap();
        frame.extend(
            payload
                .iter()
                .zip(MASK.into_iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Reads up to the server's last frame, and the end behind it: its status.
    async fn closed(mut self) -> u16 {
        loop {
            let (kind, payload) = self.frame().await;
            if kind == OpCode::Control(Control::Close) {
                let status = payload.first_chunk().map_or(0, |status| u16::from_be_bytes(*status));
                assert_eq!(self.rest().await, "");
                return status;
            }
        }
    }
}

async fn open(house: &House, target: &str) -> Client {
    let mut client = house.ask("GET", target, &UPGRADE).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert_eq!(
        value(&head, "Sec-WebSocket-Accept"),
        Some(&*derive_accept_key(KEY.as_bytes()))
    );
    client
}

#[tokio::test]
async fn tags_come_in_messages_and_pings_are_answered_between_them() {
    let house = House::new();
    let mut stream = house.publish("cam");
    stream.push(b"first");
    let mut client = open(&house, "/cam.flv").await;
    client.hear_message(b"first").await;
    assert!(house.registry.all()[0].web_socket);
    client.send(OpCode::Data(Data::Text), b"play!").await;
    client.send(OpCode::Control(Control::Ping), b"there?").await;
    assert_eq!(
        client.frame().await,
        (OpCode::Control(Control::Pong), b"there?".to_vec())
    );
    stream.push(&[7; 70_000]);
    client.hear_message(&[7; 70_000]).await;
    client
        .send(OpCode::Control(Control::Close), &1000_u16.to_be_bytes())
        .await;
    assert_eq!(client.closed().await, 1000);
}

#[tokio::test]
async fn a_player_hears_why_it_is_closed() {
    let house = House::new();
    let stream = house.publish("cam");
    let client = open(&house, "/cam.flv").await;
    stream.end(CloseReason::Ended);
    assert_eq!(client.closed().await, 1000);

    let _stream = house.publish("cam");
    let client = open(&house, "/cam.flv").await;
    let conn = house.registry.all().into_iter().find(|conn| conn.web_socket).unwrap();
    house.registry.kick(conn.id, "");
    assert_eq!(client.closed().await, 1008);

    let mut client = open(&house, "/cam.flv").await;
    client.stream.write_all(b"\x81\x05Hello").await.unwrap();
    assert_eq!(client.closed().await, 1002);
    assert_eq!(house.registry.refused(), [("websocket", 1)]);

    let client = open(&house, "/cam.flv").await;
    house.stop.send(true).unwrap();
    assert_eq!(client.closed().await, 1001);
}

#[tokio::test]
async fn a_sub_protocol_that_is_offered_is_taken() {
    let house = House::new();
    let _stream = house.publish("cam");
    let headers = [&UPGRADE[..], &[("Sec-WebSocket-Protocol", "flv, other")]].concat();
    let head = house.ask("GET", "/cam.flv", &headers).await.head().await;
    assert_eq!(value(&head, "Sec-WebSocket-Protocol"), Some("flv"));
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let house = House::new();
    let _stream = house.publish("cam");
    let check = async |replaced: (&str, &str), expected: &str| {
        let headers: Vec<_> = UPGRADE
            .into_iter()
            .map(|header| if header.0 == replaced.0 { replaced } else { header })
            .collect();
        let mut client = house.ask("GET", "/cam.flv", &headers).await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {expected}")),
            "{replaced:?}: {head}"
        );
        head
    };
    check(("Connection", "keep-alive"), "400").await;
    check(("Sec-WebSocket-Key", "c2hvcnQ="), "400").await;
    let head = check(("Sec-WebSocket-Version", "8"), "426").await;
    assert_eq!(value(&head, "Sec-WebSocket-Version"), Some("13"));
    // A page that may not read an answer may not open a WebSocket either.
    house.service.configure(Settings::default());
    let headers = [&UPGRADE[..], &[("Origin", "https://evil.example")]].concat();
    let head = house.ask("GET", "/cam.flv", &headers).await.head().await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}
