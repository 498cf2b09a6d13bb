//! The values that keys hold: booleans, numbers, addresses, lists. Each knows how it is spelled in the
//! file and how the API shows it.

use super::{
    node::{Content, Node, Style, boolean},
    schema::{Reader, Shape, Value, describe, printable},
    suggest::nearest,
};
use ipnet::IpNet;
use serde_json::Value as Json;
use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

/// The text of a scalar.
pub(crate) fn text(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar(text, _) => Some(text),
        _ => None,
    }
}

/// The text of a scalar that is not quoted: numbers and booleans.
fn bare(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar(text, Style::Plain | Style::Raw) => Some(text),
        _ => None,
    }
}

pub(crate) fn wrong_choice<T>(node: &Node, words: &[&str], reader: &mut Reader) -> Option<T> {
    let suggestion = text(node)
        .and_then(|text| nearest(text, words.iter().copied()))
        .map(str::to_owned);
    let shown: Vec<&str> = words
        .iter()
        .map(|word| if word.is_empty() { "empty" } else { word })
        .collect();
    let message = format!("expected one of {}, found {}", shown.join(", "), describe(node));
    reader.suggest(&node.origin, message, suggestion);
    None
}

impl Value for bool {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if let Some(value) = bare(node).and_then(boolean) {
            return Some(value);
        }
        let suggestion = text(node).and_then(|text| match boolean(text) {
            // It would be right without its quotes.
            Some(_) => Some(text),
            None => nearest(text, ["yes", "no", "true", "false"]),
        });
        let suggestion = suggestion.map(str::to_owned);
        reader.suggest(
            &node.origin,
            format!("expected yes or no, found {}", found(node)),
            suggestion,
        );
        None
    }

    fn json(&self) -> Json {
        Json::from(*self)
    }
}

/// Like [`describe`], with the quotes that make a number or boolean text.
fn found(node: &Node) -> String {
    match &node.content {
        Content::Scalar(text, Style::Quoted) => format!("the text \"{}\"", printable(text)),
        _ => describe(node),
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => { $(
        impl Value for $type {
            fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                match bare(node).and_then(|text| whole_number(text)).map(Self::try_from) {
                    Some(Ok(value)) => Some(value),
                    Some(Err(_)) => reader.expected(node, concat!("a number up to ", stringify!($type)).strip_suffix(
                        stringify!($type)).map(|text| format!("{text}{}", Self::MAX)).unwrap_or_default().as_str()),
                    None => {
                        reader.refuse(&node.origin, format!("expected a whole number, found {}", found(node)));
                        None
                    }
                }
            }

            fn json(&self) -> Json {
                Json::from(*self)
            }
        }
    )* };
}

whole_numbers!(u16, u32, u64);

/// Decimal, `0x…` or `0o…`. A leading zero is refused: some readers take it for octal, some do not.
fn whole_number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok();
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (text.len() == 1 || !text.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

impl Value for f64 {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let number = bare(node)
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|value| value.is_finite());
        if number.is_none() {
            reader.refuse(&node.origin, format!("expected a number, found {}", found(node)));
        }
        number
    }

    fn json(&self) -> Json {
        Json::from(*self)
    }
}

impl Value for String {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node) {
            Some(text) => Some(text.to_owned()),
            None => reader.expected(node, "text"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.as_str())
    }
}

impl Value for PathBuf {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node) {
            Some(text) if !text.contains('\0') => Some(PathBuf::from(text)),
            _ => reader.expected(node, "a file name"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.to_string_lossy())
    }
}

impl Value for IpNet {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let net = text(node).and_then(|text| match text.parse::<IpNet>() {
            Ok(net) => Some(net.trunc()),
            Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
        });
        match net {
            Some(net) => Some(net),
            None => reader.expected(node, "an address or a network such as 10.0.0.0/8"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }
}

/// Where a server listens or a host is: `:8554`, `127.0.0.1:8554`, `[::1]:8554`, `unix:///run/api.sock`; or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(String);

impl Address {
    /// An address of ours.
    pub(crate) fn known(text: &str) -> Address {
        Address(text.to_owned())
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of a Unix socket.
    pub fn unix(&self) -> Option<&str> {
        self.0.strip_prefix("unix://")
    }

    /// Host, empty for all interfaces and without brackets, and port.
    pub fn host_port(&self) -> Option<(&str, u16)> {
        split_address(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn split_address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| port.parse().ok())??;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .filter(|inner| inner.parse::<IpAddr>().is_ok())?,
        None => host,
    };
    let named = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (named || host.parse::<IpAddr>().is_ok()).then_some((host, port))
}

impl Value for Address {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node) else {
            return reader.expected(node, "an address such as :8554");
        };
        let socket = text
            .strip_prefix("unix://")
            .is_some_and(|path| !path.is_empty() && !path.contains('\0'));
        if text.is_empty() || socket || split_address(text).is_some() {
            return Some(Address(text.to_owned()));
        }
        let port_only = text.parse::<u16>().is_ok().then(|| format!(":{text}"));
        let message = format!(
            "expected an address such as :8554 or 127.0.0.1:8554, found {}",
            describe(node)
        );
        reader.suggest(&node.origin, message, port_only);
        None
    }

    fn json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

impl<T: Value> Value for Vec<T> {
    fn shape() -> Shape {
        Shape::List(T::shape)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Content::List(items) = &node.content else {
            return reader.expected(node, "a list");
        };
        let read = |(i, item): (usize, &Node)| reader.within(&i.to_string(), |reader| T::read(item, reader));
        // An item that is wrong was reported; the others are read all the same.
        let values: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
        values.into_iter().collect()
    }

    fn json(&self) -> Json {
        self.iter().map(T::json).collect()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn shape() -> Shape {
        Shape::Map(T::shape)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            return reader.expected(node, "names with their settings");
        };
        let values = entries.iter().map(|entry| {
            let value = reader.within(&entry.key, |reader| T::read(&entry.value, reader));
            value.map(|value| (entry.key.to_string(), value))
        });
        let values: Vec<Option<(String, T)>> = values.collect();
        values.into_iter().collect()
    }

    fn json(&self) -> Json {
        Json::Object(self.iter().map(|(key, value)| (key.clone(), value.json())).collect())
    }
}

/// A setting that may be left open: nothing, or `null` in the API.
impl<T: Value> Value for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        T::read(node, reader).map(Some)
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::json)
    }
}
