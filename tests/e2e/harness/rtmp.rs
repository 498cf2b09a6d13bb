//! An RTMP connection of our own, driven by hand, on the chunks and messages of rml_rtmp: a second opinion on the
//! protocol, which shares no code with the server's.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use bytes::Bytes;
use rml_amf0::Amf0Value;
use rml_rtmp::{
    chunk_io::{ChunkDeserializer, ChunkSerializer},
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    messages::{MessagePayload, RtmpMessage},
    time::RtmpTimestamp,
};

use super::{PATIENCE, flv::Tag};

/// Types of messages (Adobe's RTMP 1.0, section 7.1).
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
/// What OBS announces.
const CHUNK_SIZE: u32 = 4_096;
/// The message stream that servers make first.
const STREAM: u32 = 1;

/// An open connection.
pub(crate) struct Rtmp {
    stream: TcpStream,
    reader: ChunkDeserializer,
    writer: ChunkSerializer,
    inbox: VecDeque<MessagePayload>,
    address: SocketAddr,
}

pub(crate) fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

impl Rtmp {
    /// Connects and shakes hands.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Rtmp {
        let mut stream = TcpStream::connect(address).expect("a connection to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket of ours");
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().expect("a handshake");
        stream.write_all(&hello).expect("the server takes a handshake");
        let mut rtmp = Rtmp {
            stream,
            reader: ChunkDeserializer::new(),
            writer: ChunkSerializer::new(),
            inbox: VecDeque::new(),
            address,
        };
        loop {
            let bytes = rtmp.receive().expect("an answer to the handshake");
            match handshake.process_bytes(&bytes).expect("a handshake") {
                HandshakeProcessResult::InProgress { response_bytes } => rtmp.send_raw(&response_bytes),
                HandshakeProcessResult::Completed {
                    response_bytes,
                    remaining_bytes,
                } => {
                    rtmp.send_raw(&response_bytes);
                    rtmp.take(&remaining_bytes).expect("chunks behind the handshake");
                    return rtmp;
                }
            }
        }
    }

    /// Publishes as OBS does: Flash's names, a chunk size of 4096, and commands that nobody has to answer.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn publish(address: SocketAddr, path: &str) -> Result<Rtmp, String> {
        let mut rtmp = Rtmp::open(address);
        let size = rtmp.writer.set_max_chunk_size(CHUNK_SIZE, RtmpTimestamp::new(0));
        rtmp.send_raw(&size.expect("a chunk size").bytes);
        let (app, key) = path.split_once('/').unwrap_or((path, ""));
        let more = [
            ("type", text("nonprivate")),
            ("swfUrl", text(&format!("rtmp://{address}/{app}"))),
        ];
        rtmp.connect(app, more)?;
        rtmp.command(0, "releaseStream", 2.0, vec![text(key)]);
        rtmp.command(0, "FCPublish", 3.0, vec![text(key)]);
        rtmp.command(0, "createStream", 4.0, vec![]);
        rtmp.answer(4.0)?;
        rtmp.command(STREAM, "publish", 5.0, vec![text(key), text("live")]);
        rtmp.status("NetStream.Publish.Start")?;
        Ok(rtmp)
    }

    /// Plays a path as a player that knows these codecs beside those of Flash.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn play(address: SocketAddr, path: &str, four_ccs: &[&str]) -> Result<Rtmp, String> {
        let mut rtmp = Rtmp::open(address);
        let (app, key) = path.split_once('/').unwrap_or((path, ""));
        let list = four_ccs.iter().map(|four_cc| text(four_cc)).collect::<Vec<_>>();
        let list = (!list.is_empty()).then_some(("fourCcList", Amf0Value::StrictArray(list)));
        // Bit 1: multitrack packets.
        let more = list.into_iter().chain([("capsEx", Amf0Value::Number(2.0))]);
        rtmp.connect(app, more)?;
        rtmp.command(0, "createStream", 2.0, vec![]);
        rtmp.answer(2.0)?;
        rtmp.command(STREAM, "play", 3.0, vec![text(key)]);
        rtmp.status("NetStream.Play.Start")?;
        Ok(rtmp)
    }

    /// # Errors
    /// What the server had against it.
    pub(crate) fn connect<'a>(
        &mut self,
        app: &str,
        more: impl IntoIterator<Item = (&'a str, Amf0Value)>,
    ) -> Result<(), String> {
        let url = format!("rtmp://{}/{app}", self.address);
        let properties = [
            ("app", text(app)),
            ("flashVer", text("FMLE/3.0 (compatible; FMSc/1.0)")),
            ("tcUrl", text(&url)),
        ];
        let properties = properties.into_iter().chain(more);
        let object: HashMap<_, _> = properties.map(|(name, value)| (name.to_owned(), value)).collect();
        self.send(
            0,
            0,
            RtmpMessage::Amf0Command {
                command_name: "connect".to_owned(),
                transaction_id: 1.0,
                command_object: Amf0Value::Object(object),
                additional_arguments: vec![],
            },
        );
        self.answer(1.0)
    }

    /// Sends a command without an object.
    pub(crate) fn command(&mut self, stream: u32, name: &str, transaction: f64, arguments: Vec<Amf0Value>) {
        self.send(
            stream,
            0,
            RtmpMessage::Amf0Command {
                command_name: name.to_owned(),
                transaction_id: transaction,
                command_object: Amf0Value::Null,
                additional_arguments: arguments,
            },
        );
    }

    /// Sends what a stream is about, as OBS does.
    pub(crate) fn metadata(&mut self, properties: &[(&str, f64)]) {
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Amf0Value::Number(*value)));
        let values = vec![
            text("@setDataFrame"),
            text("onMetaData"),
            Amf0Value::Object(properties.collect()),
        ];
        self.send(STREAM, 0, RtmpMessage::Amf0Data { values });
    }

    /// Sends a tag.
    pub(crate) fn tag(&mut self, tag: &Tag) {
        self.try_tag(tag).expect("the server takes tags");
    }

    /// Sends a tag.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub(crate) fn try_tag(&mut self, tag: &Tag) -> std::io::Result<()> {
        let payload = MessagePayload {
            timestamp: RtmpTimestamp::new(tag.timestamp),
            type_id: tag.kind,
            message_stream_id: STREAM,
            data: tag.body.clone(),
        };
        let packet = self.writer.serialize(&payload, true, false).expect("a message");
        self.stream.write_all(&packet.bytes)
    }

    /// Sends tags, one after the other.
    pub(crate) fn tags<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>) {
        tags.into_iter().for_each(|tag| self.tag(tag));
    }

    fn send(&mut self, stream: u32, time: u32, message: RtmpMessage) {
        let payload = message.into_message_payload(RtmpTimestamp::new(time), stream);
        let packet = self.writer.serialize(&payload.expect("a message"), true, false);
        // A server that closes meanwhile has said why, which is read.
        let _ = self.stream.write_all(&packet.expect("a message").bytes);
    }

    /// Sends bytes that may be nonsense.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // Likewise.
        let _ = self.stream.write_all(bytes);
    }

    /// Waits for the answer to a command.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn answer(&mut self, transaction: f64) -> Result<(), String> {
        loop {
            let (name, number, arguments) = self.next_command()?;
            if name == "_error" || is_refusal(&arguments) {
                return Err(format!("{name} {arguments:?}"));
            }
            if name == "_result" && number == transaction {
                return Ok(());
            }
        }
    }

    /// Waits for a status.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn status(&mut self, code: &str) -> Result<(), String> {
        loop {
            let (name, _, arguments) = self.next_command()?;
            if name == "_error" || is_refusal(&arguments) {
                return Err(format!("{name} {arguments:?}"));
            }
            if name == "onStatus" && arguments.iter().any(|value| property(value, "code") == Some(code)) {
                return Ok(());
            }
        }
    }

    fn next_command(&mut self) -> Result<(String, f64, Vec<Amf0Value>), String> {
        // Media that comes before an answer is kept for those who want it.
        let mut others = VecDeque::new();
        let found = loop {
            let payload = self.next()?;
            match payload.to_rtmp_message() {
                Ok(RtmpMessage::Amf0Command {
                    command_name,
                    transaction_id,
                    command_object,
                    additional_arguments,
                }) => {
                    let arguments = std::iter::once(command_object).chain(additional_arguments);
                    break (command_name, transaction_id, arguments.collect());
                }
                _ => others.push_back(payload),
            }
        };
        others.append(&mut self.inbox);
        self.inbox = others;
        Ok(found)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// How the connection came to its end.
    pub(crate) fn next(&mut self) -> Result<MessagePayload, String> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            let bytes = self.receive()?;
            self.take(&bytes)?;
        }
    }

    /// Waits for the next tag of sound or pictures.
    ///
    /// # Errors
    /// How the connection came to its end.
    pub(crate) fn next_tag(&mut self) -> Result<Tag, String> {
        loop {
            let message = self.next()?;
            if [AUDIO, VIDEO].contains(&message.type_id) {
                return Ok(Tag {
                    kind: message.type_id,
                    timestamp: message.timestamp.value,
                    body: message.data,
                });
            }
        }
    }

    /// Waits for so many pictures and frames of sound, configurations left out.
    #[track_caller]
    pub(crate) fn frames(&mut self, count: usize) -> Vec<Tag> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let tag = self
                .next_tag()
                .unwrap_or_else(|end| panic!("{} of {count}, then: {end}", frames.len()));
            if tag.is_frame() {
                frames.push(tag);
            }
        }
        frames
    }

    /// Waits for the end, and answers how it came.
    pub(crate) fn until_end(&mut self) -> String {
        loop {
            if let Err(end) = self.next() {
                return end;
            }
        }
    }

    fn receive(&mut self) -> Result<Bytes, String> {
        let mut buffer = vec![0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(size) => {
                buffer.truncate(size);
                Ok(buffer.into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut input = bytes;
        while let Some(message) = self.reader.get_next_message(input).map_err(|error| error.to_string())? {
            input = &[];
            match message.to_rtmp_message() {
                Ok(RtmpMessage::SetChunkSize { size }) => {
                    let set = self.reader.set_max_chunk_size(size as usize);
                    set.map_err(|error| error.to_string())?;
                }
                _ => self.inbox.push_back(message),
            }
        }
        Ok(())
    }
}

impl Drop for Rtmp {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn is_refusal(arguments: &[Amf0Value]) -> bool {
    arguments.iter().any(|value| property(value, "level") == Some("error"))
}

fn property<'a>(value: &'a Amf0Value, name: &str) -> Option<&'a str> {
    match value {
        Amf0Value::Object(properties) => match properties.get(name)? {
            Amf0Value::Utf8String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
