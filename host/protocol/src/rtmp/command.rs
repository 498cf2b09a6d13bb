//! Commands and data: messages that are lists of AMF0 values (RTMP 1.0 sections 7.1.1, 7.1.2 and 7.2).
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

use bytes::Bytes;

use super::amf0::{self, Value, object};
use super::message::{Kind, Message};
use super::{Error, amf0::read_all};

/// What an encoder puts in front of metadata that it wants to be kept.
pub(crate) const SET_DATA_FRAME: &str = "@setDataFrame";

/// A call, or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is called; `_result` and `_error` in an answer.
    pub name: String,
    /// Which call this is or answers; 0 for calls that want no answer.
    pub transaction: f64,
    /// The command object, then what is special to the call.
    pub arguments: Vec<Value>,
}

impl Command {
    /// Reads a message of [`Kind::Command`] or [`Kind::Command3`]. Needs a name and a number; anything else may be
    /// missing.
    pub fn read(message: &Message) -> Result<Command, Error> {
        let mut values = values(message)?.into_iter();
        let (Some(Value::String(name)), Some(Value::Number(transaction))) = (values.next(), values.next()) else {
            return Err(Error::Command);
        };
        Ok(Command {
            name,
            transaction,
            arguments: values.collect(),
        })
    }

    /// The payload of a message of [`Kind::Command`].
    pub fn to_bytes(&self) -> Bytes {
        let mut payload = amf0::write(&[self.name.as_str().into(), self.transaction.into()]);
        payload.extend(amf0::write(&self.arguments));
        payload.into()
    }

    /// An argument behind the command object.
    pub fn argument(&self, index: usize) -> Option<&Value> {
        self.arguments.iter().skip(1).nth(index)
    }

    /// A property of the last argument that has it: where answers keep `code` and `description`.
    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        let mut found = self.arguments.iter().rev().filter_map(|value| value.property(name));
        found.next().and_then(Value::as_str)
    }

    /// The answer to a call.
    pub(crate) fn result(transaction: f64, first: Value, second: Value) -> Command {
        Command {
            name: "_result".to_owned(),
            transaction,
            arguments: vec![first, second],
        }
    }

    /// News about a stream (section 7.2.2), or about the name that `onFC…` commands tell of.
    pub(crate) fn status(name: &str, level: &str, code: &str, description: &str) -> Command {
        let info = object([
            ("level", level.into()),
            ("code", code.into()),
            ("description", description.into()),
        ]);
        Command {
            name: name.to_owned(),
            transaction: 0.0,
            arguments: vec![Value::Null, info],
        }
    }
}

/// Reads a message of [`Kind::Data`] or [`Kind::Data3`]: its name, without `@setDataFrame`, and its values. `None` when
/// it says nothing.
pub(crate) fn read_data(message: &Message) -> Result<Option<(String, Vec<Value>)>, Error> {
    let mut values = values(message)?.into_iter().peekable();
    values.next_if(|value| value.as_str() == Some(SET_DATA_FRAME));
    Ok(match values.next() {
        Some(Value::String(name)) => Some((name, values.collect())),
        _ => None,
    })
}

/// The values of a message. Those of AMF3 begin with a byte that says which AMF follows, and in practice it is AMF0.
fn values(message: &Message) -> Result<Vec<Value>, Error> {
    match (message.kind, message.payload.split_first()) {
        (Kind::Command3 | Kind::Data3, Some((0, rest))) => read_all(rest),
        (Kind::Command3 | Kind::Data3, _) => Err(Error::Amf3),
        _ => read_all(&message.payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, payload: &[u8]) -> Message {
        Message {
            kind,
            timestamp: 0,
            stream: 0,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    #[test]
    fn a_command_is_read_as_it_was_written() {
        let command = Command {
            name: "publish".to_owned(),
            transaction: 5.0,
            arguments: vec![Value::Null, "key".into(), "live".into()],
        };
        let bytes = command.to_bytes();
        assert_eq!(Command::read(&message(Kind::Command, &bytes)), Ok(command.clone()));
        let in_amf3 = [&[0], &bytes[..]].concat();
        assert_eq!(Command::read(&message(Kind::Command3, &in_amf3)), Ok(command.clone()));
        assert_eq!(command.argument(0), Some(&"key".into()));
        assert_eq!(command.argument(2), None);
    }

    #[test]
    fn a_command_without_name_or_number_is_refused() {
        for payload in [&b"\x02\0\x03foo"[..], b"", b"\x05\x05", b"\x00\0\0\0\0\0\0\0\0\x02\0\0"] {
            assert_eq!(Command::read(&message(Kind::Command, payload)), Err(Error::Command));
        }
    }

    #[test]
    fn commands_in_real_amf3_are_refused() {
        for payload in [&b""[..], b"\x03\x06\x07foo", b"\0\x11\x0a\x0b"] {
            assert_eq!(Command::read(&message(Kind::Command3, payload)), Err(Error::Amf3));
        }
    }

    #[test]
    fn metadata_is_found_with_and_without_its_wrapping() {
        let plain = amf0::write(&["onMetaData".into(), Value::Null]);
        let wrapped = [amf0::write(&["@setDataFrame".into()]), plain.clone()].concat();
        let expected = Ok(Some(("onMetaData".to_owned(), vec![Value::Null])));
        assert_eq!(read_data(&message(Kind::Data, &plain)), expected);
        assert_eq!(read_data(&message(Kind::Data, &wrapped)), expected);
        let in_amf3 = [vec![0], wrapped].concat();
        assert_eq!(read_data(&message(Kind::Data3, &in_amf3)), expected);
    }

    #[test]
    fn data_that_says_nothing_is_nothing() {
        let alone = amf0::write(&["@setDataFrame".into()]);
        assert_eq!(read_data(&message(Kind::Data, &alone)), Ok(None));
        assert_eq!(read_data(&message(Kind::Data, &[])), Ok(None));
        assert_eq!(read_data(&message(Kind::Data, &[5])), Ok(None));
    }
}
