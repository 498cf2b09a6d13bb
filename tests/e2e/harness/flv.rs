//! FLV files as lists of tags (Adobe's FLV 10.1, appendix E): what an RTMP publisher sends, and what it gets back.

use std::{fs, path::Path};

use bytes::Bytes;

use super::{Clip, Folder, hash, tool};

/// A tag, or an RTMP message, which has the same body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// 8 for sound, 9 for pictures.
    pub(crate) kind: u8,
    /// Milliseconds.
    pub(crate) timestamp: u32,
    pub(crate) body: Bytes,
}

const FILE_HEAD: usize = 13;
const TAG_HEAD: usize = 11;
const TAG_TAIL: usize = 4;

/// Codecs in the low half of a picture's first byte, and the high half of a frame of sound's.
const AVC: u8 = 7;
const AAC: u8 = 10;

impl Tag {
    /// Whether it holds pictures.
    pub(crate) fn is_video(&self) -> bool {
        self.kind == 9
    }

    /// Whether it holds a picture or a frame of sound in Flash's form, not a configuration.
    pub(crate) fn is_frame(&self) -> bool {
        self.payload().is_some()
    }

    /// Whether it is a picture that stands for itself.
    pub(crate) fn is_key(&self) -> bool {
        self.is_video() && self.body.first().is_some_and(|first| first >> 4 == 1)
    }

    /// The frame in it, if it is H264 or AAC.
    pub(crate) fn payload(&self) -> Option<Bytes> {
        match (self.kind, &self.body[..]) {
            (9, [first, 1, _, _, _, ..]) if first & 0x8f == AVC => Some(self.body.slice(5..)),
            (8, [first, 1, ..]) if first >> 4 == AAC => Some(self.body.slice(2..)),
            _ => None,
        }
    }

    /// Milliseconds from decoding a picture to showing it.
    pub(crate) fn composition(&self) -> i32 {
        match self.body[..] {
            [_, _, high, middle, low, ..] if self.is_video() => i32::from_be_bytes([high, middle, low, 0]) >> 8,
            _ => 0,
        }
    }

    /// The hash of the frame in it.
    pub(crate) fn hash(&self) -> String {
        self.payload().map(|payload| hash(&payload)).unwrap_or_default()
    }

    /// The same at another time.
    pub(crate) fn later(&self, milliseconds: u32) -> Tag {
        Tag {
            timestamp: self.timestamp.wrapping_add(milliseconds),
            ..self.clone()
        }
    }
}

impl Clip {
    /// The clip as FFmpeg writes it into an FLV file, metadata left out.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        let folder = Folder::new();
        let file = folder.file("clip.flv");
        let line = ["-v", "error", "-i"].map(AsRef::<Path>::as_ref);
        let rest = ["-c", "copy", "-f", "flv"].map(AsRef::<Path>::as_ref);
        let line = line.into_iter().chain([self.file.as_path()]).chain(rest);
        tool::run("ffmpeg", line.chain([file.as_path()]));
        tags(&fs::read(file).expect("a file that FFmpeg made"))
    }
}

/// The tags of sound and pictures in a file.
pub(crate) fn tags(file: &[u8]) -> Vec<Tag> {
    let mut rest = file.get(FILE_HEAD..).unwrap_or_default();
    let mut tags = Vec::new();
    while let Some(&[kind, s0, s1, s2, t0, t1, t2, t3, ..]) = rest.get(..TAG_HEAD) {
        let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
        let Some((tag, behind)) = rest.split_at_checked(TAG_HEAD + size + TAG_TAIL) else {
            break;
        };
        rest = behind;
        if [8, 9].contains(&kind) {
            tags.push(Tag {
                kind,
                timestamp: u32::from_be_bytes([t3, t0, t1, t2]),
                body: Bytes::copy_from_slice(&tag[TAG_HEAD..TAG_HEAD + size]),
            });
        }
    }
    tags
}
