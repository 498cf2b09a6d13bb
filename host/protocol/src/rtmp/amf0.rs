//! AMF0: the values that commands and metadata consist of.
//!
//! Reading is ours and bounded: a value is built only as far as its bytes are there, nesting is counted, and so are the
//! values of a message. Writing goes through `rml_amf0`, whose objects are unordered maps; it gets the leaves, and what
//! has an order is framed here.
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

use bytes::{Buf, BufMut};
use rml_amf0::Amf0Value;

use super::Error;

/// Values may be nested this deep.
pub const MAX_DEPTH: usize = 16;
/// This many values, names not counted, may come in one message.
pub const MAX_VALUES: usize = 1_024;
/// A string may have this many bytes.
pub const MAX_STRING: usize = 64 << 10;

mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
    pub(super) const AMF3: u8 = 17;
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// Text, long strings and XML too.
    String(String),
    /// Named values in their order. A typed object is one without its type.
    Object(Vec<(String, Value)>),
    /// Named values that were sent as an ECMA array, as encoders send metadata.
    Ecma(Vec<(String, Value)>),
    /// Values without names.
    Array(Vec<Value>),
    /// Milliseconds since 1970.
    Date(f64),
    /// Nothing, said so.
    Null,
    /// Nothing. References come as this too: nobody uses them, and following them would let a small message build a
    /// large value.
    Undefined,
}

impl Value {
    /// The property of this name, of an object or an ECMA array.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let (Value::Object(properties) | Value::Ecma(properties)) = self else {
            return None;
        };
        let property = properties.iter().find(|(own, _)| own == name);
        property.map(|(_, value)| value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

/// An object with these properties.
pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    Value::Object(properties.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Reads all values of a payload.
pub fn read_all(payload: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader {
        rest: payload,
        left: MAX_VALUES,
    };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many values may still come.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Recursion ends at [`MAX_DEPTH`].
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::AmfValues)?;
        let marker = self.u8()?;
        let inner = depth.saturating_add(1);
        let container = matches!(
            marker,
            marker::OBJECT | marker::ECMA_ARRAY | marker::STRICT_ARRAY | marker::TYPED_OBJECT
        );
        if container && inner > MAX_DEPTH {
            return Err(Error::AmfDepth);
        }
        Ok(match marker {
            marker::NUMBER => Value::Number(self.f64()?),
            marker::BOOLEAN => Value::Boolean(self.u8()? != 0),
            marker::STRING => Value::String(self.short_string()?),
            marker::LONG_STRING | marker::XML => Value::String(self.long_string()?),
            marker::OBJECT => Value::Object(self.properties(inner)?),
            marker::TYPED_OBJECT => {
                self.short_string()?;
                Value::Object(self.properties(inner)?)
            }
            marker::ECMA_ARRAY => {
                // The count is a hint that encoders get wrong; the end marker counts.
                self.u32()?;
                Value::Ecma(self.properties(inner)?)
            }
            marker::STRICT_ARRAY => {
                let count = self.u32()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(inner)?);
                }
                Value::Array(values)
            }
            marker::DATE => {
                let date = self.f64()?;
                self.bytes(2)?;
                Value::Date(date)
            }
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::REFERENCE => {
                self.bytes(2)?;
                Value::Undefined
            }
            marker::AMF3 => return Err(Error::Amf3),
            other => return Err(Error::AmfMarker(other)),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut properties = Vec::new();
        loop {
            let name = self.short_string()?;
            if name.is_empty() && self.rest.first() == Some(&marker::OBJECT_END) {
                self.rest.advance(1);
                return Ok(properties);
            }
            properties.push((name, self.value(depth)?));
        }
    }

    fn short_string(&mut self) -> Result<String, Error> {
        let length = self.rest.try_get_u16().map_err(|_| Error::AmfTruncated)?;
        self.string(length.into())
    }

    fn long_string(&mut self) -> Result<String, Error> {
        let length = usize::try_from(self.u32()?).map_err(|_| Error::AmfString)?;
        self.string(length)
    }

    fn string(&mut self, length: usize) -> Result<String, Error> {
        if length > MAX_STRING {
            return Err(Error::AmfString);
        }
        // A title in another encoding is no reason to lose its stream.
        Ok(String::from_utf8_lossy(self.bytes(length)?).into_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Error::AmfTruncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.rest.try_get_u8().map_err(|_| Error::AmfTruncated)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.rest.try_get_u32().map_err(|_| Error::AmfTruncated)
    }

    fn f64(&mut self) -> Result<f64, Error> {
        self.rest.try_get_f64().map_err(|_| Error::AmfTruncated)
    }
}

/// The bytes of these values, one behind the other. Names above 65,535 bytes are cut, and so are strings above
/// [`MAX_STRING`].
pub fn write(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        write_value(&mut out, value);
    }
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => write_leaf(out, Amf0Value::Number(*number)),
        Value::Boolean(boolean) => write_leaf(out, Amf0Value::Boolean(*boolean)),
        Value::String(text) if text.len() <= usize::from(u16::MAX) => {
            write_leaf(out, Amf0Value::Utf8String(text.clone()));
        }
        Value::String(text) => {
            let text = cut(text, MAX_STRING);
            out.put_u8(marker::LONG_STRING);
            out.put_u32(u32::try_from(text.len()).unwrap_or_default());
            out.put_slice(text.as_bytes());
        }
        Value::Null => write_leaf(out, Amf0Value::Null),
        Value::Undefined => write_leaf(out, Amf0Value::Undefined),
        Value::Date(date) => {
            out.put_u8(marker::DATE);
            out.put_f64(*date);
            // The time zone, which is reserved.
            out.put_u16(0);
        }
        Value::Object(properties) => {
            out.put_u8(marker::OBJECT);
            write_properties(out, properties);
        }
        Value::Ecma(properties) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
            write_properties(out, properties);
        }
        Value::Array(values) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
            for value in values {
                write_value(out, value);
            }
        }
    }
}

fn write_properties(out: &mut Vec<u8>, properties: &[(String, Value)]) {
    for (name, value) in properties {
        let name = cut(name, usize::from(u16::MAX));
        out.put_u16(u16::try_from(name.len()).unwrap_or_default());
        out.put_slice(name.as_bytes());
        write_value(out, value);
    }
    out.put_slice(&[0, 0, marker::OBJECT_END]);
}

/// Leaves cannot fail: the only one that could, a string too long, does not come here.
fn write_leaf(out: &mut Vec<u8>, leaf: Amf0Value) {
    out.extend(rml_amf0::serialize(&vec![leaf]).unwrap_or_default());
}

fn cut(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
