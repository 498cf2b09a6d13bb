//! Cuts a byte stream into RTSP messages and interleaved frames (RFC 2326 sections 4 and 10.12).
//!
//! ```text
//! interleaved frame    '$'  channel (1)  length (2, big-endian)  RTP or RTCP packet (length)
//! ```
//!
//! Every bound is checked while a message is still arriving, so that an endless line costs no more than its bound. The
//! bytes of a packet are cut out of the input, not copied. Line ends may be bare LF and empty lines may stand before a
//! message (RFC 2326 section 4, and FFmpeg's and live555's habit of ending bodies with CRLF); folded headers are refused
//! as RFC 7230 section 3.2.4 allows.
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

use bytes::{Buf, Bytes, BytesMut};

use super::Error;
use super::message::{
    Headers, MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_KEY, MAX_LINE, MAX_METHOD, Method, Request, Response, Status,
    is_token,
};

/// The longest line that a head may hold: a key, a colon, blanks and a value.
const MAX_RAW_LINE: usize = MAX_KEY + MAX_LINE + 16;
/// Bytes in front of an interleaved packet.
pub const FRAME_HEADER: usize = 4;

/// One thing out of the byte stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
    /// A packet that travels inside the connection.
    Frame {
        /// The channel.
        channel: u8,
        /// The packet.
        data: Bytes,
    },
}

/// Cuts a byte stream. Remembers how far it has looked, so that bytes are looked at once however they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Everything in front of this offset was searched for the head's end.
    scanned: usize,
    /// Where the line begins that the search stands in; at most `scanned`.
    line: usize,
    /// A message whose head was taken out of the input and whose body (of this length) is still arriving.
    head: Option<(Item, usize)>,
}

impl Decoder {
    /// A decoder at the start of a message.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Whether `input` holds, or the decoder remembers, a message that has begun and not ended.
    pub fn in_message(&self, input: &BytesMut) -> bool {
        self.head.is_some() || !input.is_empty()
    }

    /// Whether what comes next is an interleaved frame.
    pub fn frame_is_next(&self, input: &BytesMut) -> bool {
        let first = || input.iter().find(|b| !matches!(b, b'\r' | b'\n'));
        self.head.is_none() && self.scanned == 0 && first() == Some(&b'$')
    }

    /// Takes the next item out of `input`; `None` when it has not arrived whole. After an error the stream has no
    /// meaning any more.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Item>, Error> {
        if self.head.is_none() {
            if self.scanned == 0 {
                let blank = input.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                input.advance(blank);
                match input.first() {
                    None => return Ok(None),
                    Some(b'$') => return Ok(take_frame(input)),
                    // Anything but a method or a version: a TLS hello, noise. Don't wait for its line to end.
                    Some(first) if !first.is_ascii_alphabetic() => return Err(Error::StartLine),
                    Some(_) => {}
                }
            }
            let Some(end) = self.find_head_end(input)? else {
                return Ok(None);
            };
            let head = input.split_to(end);
            self.scanned = 0;
            self.line = 0;
            self.head = Some(parse_head(&head)?);
        }
        let Some((_, length)) = &self.head else { return Ok(None) };
        if input.len() < *length {
            return Ok(None);
        }
        let Some((mut item, length)) = self.head.take() else {
            return Ok(None);
        };
        if length > 0 {
            let taken = input.split_to(length).freeze();
            match &mut item {
                Item::Request(Request { body, .. }) | Item::Response(Response { body, .. }) => *body = taken,
                Item::Frame { .. } => {}
            }
        }
        Ok(Some(item))
    }

    /// The offset behind the empty line that ends the head.
    fn find_head_end(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        while let Some(rest) = input.get(self.scanned..) {
            let Some(offset) = rest.iter().position(|b| *b == b'\n') else {
                self.scanned = input.len();
                break;
            };
            let line_end = self.scanned.saturating_add(offset);
            let line = input.get(self.line..line_end).unwrap_or_default();
            self.check_bounds(line_end)?;
            self.scanned = line_end.saturating_add(1);
            self.line = self.scanned;
            if line.is_empty() || line == b"\r" {
                return Ok(Some(self.scanned));
            }
        }
        self.check_bounds(self.scanned)?;
        Ok(None)
    }

    fn check_bounds(&self, at: usize) -> Result<(), Error> {
        if at.saturating_sub(self.line) > MAX_RAW_LINE || at > MAX_HEAD {
            Err(Error::HeadTooLarge)
        } else {
            Ok(())
        }
    }
}

fn take_frame(input: &mut BytesMut) -> Option<Item> {
    let (&[_, channel, high, low], rest) = input.split_first_chunk::<FRAME_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if rest.len() < length {
        return None;
    }
    input.advance(FRAME_HEADER);
    Some(Item::Frame {
        channel,
        data: input.split_to(length).freeze(),
    })
}

/// Parses a whole head. The item's body is empty still; its length comes along.
fn parse_head(head: &[u8]) -> Result<(Item, usize), Error> {
    let head = std::str::from_utf8(head).map_err(|_| Error::Header)?;
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let start = lines.next().unwrap_or_default();
    if start.len() > MAX_LINE {
        return Err(Error::HeadTooLarge);
    }
    if start.bytes().any(|b| b.is_ascii_control()) {
        return Err(Error::StartLine);
    }
    let mut item = parse_start(start)?;
    let (parsed, length) = parse_headers(lines)?;
    match &mut item {
        Item::Request(Request { headers, .. }) | Item::Response(Response { headers, .. }) => *headers = parsed,
        Item::Frame { .. } => {}
    }
    Ok((item, length))
}

fn parse_start(line: &str) -> Result<Item, Error> {
    if let Some(rest) = line.strip_prefix("RTSP/") {
        let rest = rest.strip_prefix("1.0 ").ok_or(Error::Version)?;
        let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::StartLine);
        }
        let status = Status(code.parse().map_err(|_| Error::StartLine)?);
        let phrase = phrase.trim().to_owned();
        return Ok(Item::Response(Response {
            phrase,
            ..Response::new(status)
        }));
    }
    // The URL may hold blanks that its sender should have encoded: it is what stands between the first and the last one.
    let (method, rest) = line.split_once(' ').ok_or(Error::StartLine)?;
    let (url, version) = rest.trim_end().rsplit_once(' ').ok_or(Error::StartLine)?;
    let url = url.trim();
    if method.is_empty() || method.len() > MAX_METHOD || !method.bytes().all(is_token) || url.is_empty() {
        return Err(Error::StartLine);
    }
    if version != "RTSP/1.0" {
        return Err(if version.contains('/') {
            Error::Version
        } else {
            Error::StartLine
        });
    }
    Ok(Item::Request(Request::new(Method::from_name(method), url)))
}

fn parse_headers<'a>(lines: impl Iterator<Item = &'a str>) -> Result<(Headers, usize), Error> {
    let mut headers = Headers::new();
    let mut length: Option<usize> = None;
    for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count >= MAX_HEADERS {
            return Err(Error::HeadTooLarge);
        }
        let (key, value) = line.split_once(':').ok_or(Error::Header)?;
        // "CSeq : 1" is written by some embedded clients; a blank in front of the key would be a folded header.
        let key = key.trim_end_matches([' ', '\t']);
        let value = value.trim_matches([' ', '\t']);
        if key.len() > MAX_KEY || value.len() > MAX_LINE {
            return Err(Error::HeadTooLarge);
        }
        if key.is_empty() || !key.bytes().all(is_token) || value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(Error::Header);
        }
        if key.eq_ignore_ascii_case("content-length") {
            if length.is_some() || value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Error::ContentLength);
            }
            let value = value.parse().map_err(|_| Error::BodyTooLarge)?;
            if value > MAX_BODY {
                return Err(Error::BodyTooLarge);
            }
            length = Some(value);
        } else {
            headers.push(key, value);
        }
    }
    Ok((headers, length.unwrap_or(0)))
}

#[cfg(test)]
mod tests;
