//! The commands of a connection and its stream, and what each is answered.
//!
//! ```text
//! OBS, FFmpeg, GStreamer        here
//! connect                       window, bandwidth, chunk size, _result
//! releaseStream, FCPublish      _result, onFCPublish
//! createStream                  _result: stream 1
//! publish                       the question, then StreamBegin, onStatus
//! play                          the question, then StreamBegin, onStatus twice, |RtmpSampleAccess
//! FCUnpublish                   onFCUnpublish
//! deleteStream, closeStream     the end
//! ```

use bytes::{BufMut, BytesMut};

use super::event::Connect;
use super::{CHUNK_SIZE, Connection, Event, LIMIT_DYNAMIC, Output, Question, State};
use crate::rtmp::acknowledgements::WINDOW;
use crate::rtmp::amf0::{self, Value, object};
use crate::rtmp::chunk::MEDIA_STREAM;
use crate::rtmp::message::{Kind, UserControl};
use crate::rtmp::{Capabilities, Command, Error};

/// What Flash players take for a server that knows H.264.
const SERVER_VERSION: &str = "FMS/3,5,7,7009";

impl Connection {
    pub(super) fn handle_command(&mut self, stream: u32, command: &Command) -> Result<(), Error> {
        match command.name.as_str() {
            "connect" => return self.handle_connect(command),
            "_result" | "_error" | "onStatus" => {}
            // Nothing has a meaning before `connect` gave it an app.
            _ if self.connect.is_none() => return Err(Error::Command),
            "createStream" => self.answer(command, f64::from(MEDIA_STREAM).into()),
            "getStreamLength" => self.answer(command, 0.0.into()),
            "FCPublish" => {
                self.answer(command, Value::Undefined);
                self.tell(stream, "onFCPublish", "NetStream.Publish.Start", "publishing");
            }
            "FCUnpublish" => {
                self.answer(command, Value::Undefined);
                self.tell(stream, "onFCUnpublish", "NetStream.Unpublish.Success", "unpublished");
            }
            "FCSubscribe" => {
                self.answer(command, Value::Undefined);
                self.tell(stream, "onFCSubscribe", "NetStream.Play.Start", "subscribed");
            }
            "publish" => return self.handle_question(Question::Publish, stream, command),
            "play" => return self.handle_question(Question::Play, stream, command),
            "pause" | "pauseRaw" => self.handle_pause(command),
            "deleteStream" | "closeStream" => self.handle_end(),
            // Calls that nobody knows are answered with nothing: encoders that ask for `_checkbw` or a word of their own
            // vendor go on then, where an error would end some of them.
            _ => self.answer(command, Value::Undefined),
        }
        Ok(())
    }

    fn handle_connect(&mut self, command: &Command) -> Result<(), Error> {
        let Some(object @ (Value::Object(_) | Value::Ecma(_))) = command.arguments.first() else {
            return Err(Error::Command);
        };
        if self.connect.is_some() {
            return Err(Error::Command);
        }
        let connect = Connect::read(object);
        let window = self.writer.control(Kind::WindowSize, WINDOW);
        self.send(window);
        let mut bandwidth = BytesMut::new();
        bandwidth.put_u32(WINDOW);
        bandwidth.put_u8(LIMIT_DYNAMIC);
        let bandwidth = self.writer.write(Kind::PeerBandwidth, 0, 0, bandwidth.freeze())?;
        self.send(bandwidth);
        let chunk_size = self.writer.resize(CHUNK_SIZE);
        self.send(chunk_size);

        let mut properties = vec![
            ("fmsVer".to_owned(), SERVER_VERSION.into()),
            ("capabilities".to_owned(), 31.0.into()),
        ];
        // Old encoders have small buffers for this answer.
        if connect.capabilities.is_enhanced() {
            properties.extend(Capabilities::ours().properties());
        }
        let information = object_of_success();
        let result = Command::result(command.transaction, Value::Object(properties), information);
        self.command(0, &result);
        self.connect = Some(connect);
        Ok(())
    }

    fn handle_question(&mut self, question: Question, stream: u32, command: &Command) -> Result<(), Error> {
        let Some(connect) = &self.connect else {
            return Err(Error::Command);
        };
        // One connection, one stream: a second wish is ignored.
        if self.state != State::Idle {
            return Ok(());
        }
        let name = command.argument(0).and_then(Value::as_str).unwrap_or_default();
        let ask = connect.ask(name);
        self.ask(question, stream, ask);
        Ok(())
    }

    fn handle_pause(&mut self, command: &Command) {
        if self.state != State::Playing {
            return;
        }
        let pause = command.argument(0) == Some(&Value::Boolean(true));
        let (code, text) = match pause {
            true => ("NetStream.Pause.Notify", "paused"),
            false => ("NetStream.Unpause.Notify", "going on"),
        };
        self.status(code, text);
        self.output.push_back(Output::Event(Event::Pause(pause)));
    }

    fn handle_end(&mut self) {
        match self.state {
            // Encoders that tidy up before they begin, and those that do it twice.
            State::Idle | State::Ended => return,
            State::Publishing => self.status("NetStream.Unpublish.Success", "unpublished"),
            State::Playing => self.status("NetStream.Play.Stop", "stopped"),
        }
        self.state = State::Ended;
        self.media_heard = self.now;
        self.output.push_back(Output::Event(Event::Ended));
    }

    /// Answers a call that wants an answer.
    fn answer(&mut self, command: &Command, value: Value) {
        if command.transaction != 0.0 {
            self.command(0, &Command::result(command.transaction, Value::Null, value));
        }
    }

    fn tell(&mut self, stream: u32, name: &str, code: &str, text: &str) {
        self.command(stream, &Command::status(name, "status", code, text));
    }

    /// News about the stream.
    pub(super) fn status(&mut self, code: &str, text: &str) {
        self.tell(self.stream, "onStatus", code, text);
    }

    /// Tells a Flash player that it may look at the samples it plays.
    pub(super) fn sample_access(&mut self) {
        let values = ["|RtmpSampleAccess".into(), Value::Boolean(true), Value::Boolean(true)];
        let payload = amf0::write(&values).into();
        if let Ok(bytes) = self.writer.write(Kind::Data, 0, self.stream, payload) {
            self.send(bytes);
        }
    }

    pub(super) fn command(&mut self, stream: u32, command: &Command) {
        // Fails above 16 MiB only, which no answer of ours comes near.
        if let Ok(bytes) = self.writer.write(Kind::Command, 0, stream, command.to_bytes()) {
            self.send(bytes);
        }
    }

    pub(super) fn user_control(&mut self, control: UserControl) {
        let bytes = self.writer.user_control(control);
        self.send(bytes);
    }
}

fn object_of_success() -> Value {
    object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "connected".into()),
        // AMF0, also to those who asked for AMF3.
        ("objectEncoding", 0.0.into()),
    ])
}
