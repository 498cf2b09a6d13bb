//! An HTTP-FLV response on its way in: the head, the chunks of the body if it has such, the tags.

use anyhow::{Context, Result, ensure};

use crate::chunks::Message;

const MAX_HEAD: usize = 16 << 10;
/// The FLV header and the size of the tag before the first (Adobe's FLV 10.1, sections E.2 and E.3).
const FILE_HEAD: usize = 9 + 4;
const TAG_HEAD: usize = 11;
/// The size of a tag, again, behind it.
const TAG_TAIL: usize = 4;
const MAX_CHUNK_LINE: usize = 32;

/// Where one reader's response stands.
#[derive(Debug)]
pub(crate) struct Flv {
    place: Place,
    /// Whether the body is cut into HTTP's chunks, and what is left of the present one.
    chunked: Option<usize>,
    /// What had not arrived whole: of the response's head or a chunk's line.
    line: Vec<u8>,
    /// Likewise, of a tag.
    carry: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    FileHead,
    Tags,
}

impl Flv {
    /// Nothing came yet.
    pub(crate) fn new() -> Flv {
        Flv {
            place: Place::Head,
            chunked: None,
            line: Vec::new(),
            carry: Vec::new(),
        }
    }

    /// Takes the next bytes of the connection and hands on every tag that is whole now.
    pub(crate) fn feed(&mut self, input: &[u8], mut sink: impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
        if self.place != Place::Head {
            return self.feed_body(input, &mut sink);
        }
        self.line.extend_from_slice(input);
        let Some(end) = self.line.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            ensure!(self.line.len() < MAX_HEAD, "the head of the response is too long");
            return Ok(());
        };
        let all = std::mem::take(&mut self.line);
        let (head, body) = all.split_at(end + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.split(' ').nth(1) == Some("200"), "the server answers {status:?}");
        self.chunked = head.contains("\r\ntransfer-encoding: chunked\r\n").then_some(0);
        self.place = Place::FileHead;
        self.feed_body(body, &mut sink)
    }

    fn feed_body(&mut self, mut input: &[u8], sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
        while !input.is_empty() {
            let Some(left) = self.chunked else {
                return self.feed_tags(input, sink);
            };
            if left == 0 {
                input = self.feed_line(input)?;
                continue;
            }
            let (part, rest) = input.split_at(left.min(input.len()));
            self.feed_tags(part, sink)?;
            self.chunked = Some(left - part.len());
            input = rest;
        }
        Ok(())
    }

    /// The line before a chunk, or the empty one behind it (RFC 9112 section 7.1).
    fn feed_line<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8]> {
        let end = input
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(input.len(), |end| end + 1);
        let (part, rest) = input.split_at(end);
        self.line.extend_from_slice(part);
        ensure!(self.line.len() < MAX_CHUNK_LINE, "the line before a chunk is too long");
        if self.line.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            let text = std::str::from_utf8(&line)?.trim();
            if !text.is_empty() {
                let size = usize::from_str_radix(text, 16).with_context(|| format!("a chunk of {text:?} bytes"))?;
                self.chunked = Some(size);
            }
        }
        Ok(rest)
    }

    fn feed_tags(&mut self, input: &[u8], sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
        if self.carry.is_empty() {
            let taken = self.take(input, sink)?;
            self.carry.extend_from_slice(input.get(taken..).unwrap_or_default());
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(input);
            let taken = self.take(&carry, sink)?;
            carry.drain(..taken);
            self.carry = carry;
        }
        Ok(())
    }

    /// Takes whole tags; answers their bytes.
    fn take(&mut self, input: &[u8], sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<usize> {
        let mut taken = 0;
        if self.place == Place::FileHead {
            if input.len() < FILE_HEAD {
                return Ok(0);
            }
            ensure!(input.starts_with(b"FLV\x01"), "the response is no FLV");
            self.place = Place::Tags;
            taken = FILE_HEAD;
        }
        while let Some(&[kind, s0, s1, s2, ..]) = input.get(taken..).filter(|rest| rest.len() >= TAG_HEAD) {
            let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
            let begin = taken + TAG_HEAD;
            let Some(body) = input.get(begin..begin + size + TAG_TAIL) else {
                break;
            };
            let (body, again) = body.split_at(size);
            ensure!(
                again == ((TAG_HEAD + size) as u32).to_be_bytes(),
                "the size behind a tag is not its size"
            );
            taken = begin + size + TAG_TAIL;
            sink(Message { kind, body })?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00\
        \x09\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00abc\x00\x00\x00\x0e\
        \x08\x00\x00\x01\x00\x00\x28\x00\x00\x00\x00d\x00\x00\x00\x0c";

    fn read(response: &[u8], step: usize) -> Result<Vec<(u8, Vec<u8>)>> {
        let mut flv = Flv::new();
        let mut found = Vec::new();
        for piece in response.chunks(step) {
            flv.feed(piece, |tag| {
                found.push((tag.kind, tag.body.to_vec()));
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn plain(file: &[u8]) -> Vec<u8> {
        [b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n", file].concat()
    }

    fn chunked(file: &[u8]) -> Vec<u8> {
        let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in file.chunks(20) {
            response.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
            response.extend_from_slice(part);
            response.extend_from_slice(b"\r\n");
        }
        response
    }

    #[test]
    fn tags_come_whole_however_the_response_is_cut() {
        let expected = [(9, b"abc".to_vec()), (8, b"d".to_vec())];
        for response in [plain(FILE), chunked(FILE)] {
            for step in [1, 3, 16, response.len()] {
                assert_eq!(read(&response, step).unwrap(), expected, "{step} bytes at a time");
            }
        }
    }

    #[test]
    fn what_is_no_flv_is_an_error() {
        let mut damaged = FILE.to_vec();
        *damaged.last_mut().unwrap() += 1;
        for response in [
            b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(),
            plain(b"<html>no such thing"),
            plain(&damaged),
            [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], b"zz\r\n"].concat(),
            vec![b'x'; MAX_HEAD],
        ] {
            assert!(read(&response, response.len()).is_err());
        }
    }
}
