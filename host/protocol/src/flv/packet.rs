//! The header of an audio or video tag, classic and enhanced, and what stands behind it.
//!
//! ```text
//! classic video    | frame type (4) | codec (4) | for AVC: packet type, composition time (24, signed) |
//! classic audio    | format (4) | rate (2) | size (1) | channels (1) | for AAC: packet type |
//! enhanced video   | 1 | frame type (3) | packet type (4) | FourCC | composition time where NAL units are coded |
//! enhanced audio   | 9 (4)              | packet type (4) | FourCC |
//!
//! packet type ModEx:      | size - 1, or 255 and size - 1 (16) | data | its type (4) | packet type (4) |, again and again
//! packet type Multitrack: | how (4) | packet type (4) | FourCC, when all have the same |
//!                         then per track | FourCC, when each has its own | track | size (24), unless it is one | data |
//! ```
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::Bytes;
use wasmtx_media::Error;
use wasmtx_media::read::Cursor;

use super::coding::Coding;
use super::{Kind, Tag};

/// Tracks that one tag may carry.
const MAX_TRACKS: usize = 32;
/// Modifiers that one tag may carry.
const MAX_MODIFIERS: usize = 8;

/// Bit of an enhanced video tag.
const ENHANCED_VIDEO: u8 = 0x80;
/// Format of an enhanced audio tag.
const ENHANCED_AUDIO: u8 = 9;
/// The frame type of a tag that holds a command to the player.
const COMMAND: u8 = 5;
/// `ModEx` of audio and of video.
const MODIFIER: u8 = 7;
/// The modifier that holds nanoseconds.
const TIMESTAMP_OFFSET: u8 = 0;
const MAX_NANOSECONDS: u32 = 999_999;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS: u8 = 1;
const MANY_CODECS: u8 = 2;

/// What one tag says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packets {
    pub(super) packets: Vec<Packet>,
    /// To be added to the tag's time.
    pub(super) nanoseconds: u32,
}

/// What a tag says about one track.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// 0 where there is no multitrack packet.
    pub(super) track: u8,
    pub(super) coding: Coding,
    pub(super) part: Part,
    pub(super) data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The configuration of the decoder.
    Start,
    /// A frame, shown this many milliseconds after it is decoded.
    Frame(i32),
    /// No more frames come for now.
    End,
}

impl Packets {
    /// Reads an audio or a video tag. What says nothing about a track (commands, colours, channel orders) is no packet.
    pub(super) fn read(tag: &Tag) -> Result<Packets, Error> {
        let mut reader = Reader {
            payload: &tag.payload,
            cursor: Cursor::new(&tag.payload),
        };
        match (tag.kind, reader.cursor.peek()) {
            // Some senders keep a connection open with tags of nothing.
            (_, None) | (Kind::Script, _) => Ok(Packets::default()),
            (Kind::Video, Some(first)) if first & ENHANCED_VIDEO != 0 => reader.enhanced(Kind::Video),
            (Kind::Audio, Some(first)) if first >> 4 == ENHANCED_AUDIO => reader.enhanced(Kind::Audio),
            (Kind::Video, _) => reader.video(),
            (Kind::Audio, _) => reader.audio(),
        }
    }
}

struct Reader<'a> {
    payload: &'a Bytes,
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn video(&mut self) -> Result<Packets, Error> {
        let first = self.cursor.u8()?;
        if first >> 4 == COMMAND {
            return Ok(Packets::default());
        }
        let coding = Coding::of_legacy_video(first & 0xf);
        let mut part = Part::Frame(0);
        if matches!(coding, Coding::H264 | Coding::H265) {
            let kind = self.cursor.u8()?;
            let composition = signed(self.cursor.u24()?);
            part = match kind {
                0 => Part::Start,
                1 => Part::Frame(composition),
                2 => Part::End,
                _ => return Err(Error::Invalid("AVC packet type")),
            };
        }
        Ok(self.one(coding, part))
    }

    fn audio(&mut self) -> Result<Packets, Error> {
        let coding = Coding::of_legacy_audio(self.cursor.u8()?);
        let part = match coding {
            Coding::Aac if self.cursor.u8()? == 0 => Part::Start,
            _ => Part::Frame(0),
        };
        Ok(self.one(coding, part))
    }

    /// All that is left, of the only track.
    fn one(&self, coding: Coding, part: Part) -> Packets {
        let data = self.share(self.cursor.rest());
        Packets {
            packets: vec![Packet {
                track: 0,
                coding,
                part,
                data,
            }],
            nanoseconds: 0,
        }
    }

    fn enhanced(&mut self, kind: Kind) -> Result<Packets, Error> {
        let first = self.cursor.u8()?;
        let (frame_type, mut packet_type) = (first >> 4 & 7, first & 0xf);
        let mut read = Packets::default();
        for _ in 0..MAX_MODIFIERS {
            if packet_type != MODIFIER {
                break;
            }
            packet_type = self.modifier(&mut read.nanoseconds)?;
        }
        let is_video = kind == Kind::Video;
        if is_video && frame_type == COMMAND && packet_type != 4 {
            return Ok(read);
        }
        let multitrack = match packet_type {
            6 if is_video => true,
            5 => !is_video,
            MODIFIER => return Err(Error::TooLarge("modifiers of a tag")),
            _ => false,
        };
        if !multitrack {
            let coding = Coding::of_four_cc(self.cursor.array()?);
            let rest = self.cursor.rest();
            read.packets.extend(self.packet(kind, packet_type, coding, 0, rest)?);
            return Ok(read);
        }
        let how = self.cursor.u8()?;
        let (how, packet_type) = (how >> 4, how & 0xf);
        let shared = match how {
            ONE_TRACK | MANY_TRACKS => Some(Coding::of_four_cc(self.cursor.array()?)),
            MANY_CODECS => None,
            _ => return Err(Error::Invalid("multitrack type")),
        };
        while !self.cursor.is_empty() {
            if read.packets.len() >= MAX_TRACKS {
                return Err(Error::TooLarge("tracks of a tag"));
            }
            let coding = match shared {
                Some(coding) => coding,
                None => Coding::of_four_cc(self.cursor.array()?),
            };
            let track = self.cursor.u8()?;
            let length = match how {
                ONE_TRACK => self.cursor.remaining(),
                _ => usize::try_from(self.cursor.u24()?).map_err(|_| Error::Truncated)?,
            };
            let data = self.cursor.take(length)?;
            read.packets
                .extend(self.packet(kind, packet_type, coding, track, data)?);
        }
        Ok(read)
    }

    /// The packet type behind a modifier.
    fn modifier(&mut self, nanoseconds: &mut u32) -> Result<u8, Error> {
        let mut size = usize::from(self.cursor.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(self.cursor.u16()?).saturating_add(1);
        }
        let mut data = Cursor::new(self.cursor.take(size)?);
        let kinds = self.cursor.u8()?;
        if kinds >> 4 == TIMESTAMP_OFFSET {
            *nanoseconds = data.u24()?.min(MAX_NANOSECONDS);
        }
        Ok(kinds & 0xf)
    }

    fn packet(
        &self,
        kind: Kind,
        packet_type: u8,
        coding: Coding,
        track: u8,
        data: &[u8],
    ) -> Result<Option<Packet>, Error> {
        let mut data = Cursor::new(data);
        let part = match (kind, packet_type) {
            (_, 0) => Part::Start,
            (Kind::Video, 1) if matches!(coding, Coding::H264 | Coding::H265) => Part::Frame(signed(data.u24()?)),
            (_, 1) | (Kind::Video, 3) => Part::Frame(0),
            (_, 2) => Part::End,
            // Metadata about colours, the order of channels, what is still to be invented.
            _ => return Ok(None),
        };
        let data = self.share(data.rest());
        Ok(Some(Packet {
            track,
            coding,
            part,
            data,
        }))
    }

    fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            Bytes::new()
        } else {
            self.payload.slice_ref(part)
        }
    }
}

/// A 24-bit number in two's complement.
fn signed(number: u32) -> i32 {
    number.wrapping_shl(8).cast_signed() >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, payload: &[u8]) -> Result<Packets, Error> {
        Packets::read(&Tag {
            kind,
            timestamp: 0,
            payload: Bytes::copy_from_slice(payload),
        })
    }

    fn packet(track: u8, coding: Coding, part: Part, data: &'static [u8]) -> Packet {
        Packet {
            track,
            coding,
            part,
            data: Bytes::from_static(data),
        }
    }

    fn check(kind: Kind, payload: &[u8], packets: Vec<Packet>) {
        assert_eq!(read(kind, payload).unwrap().packets, packets, "{payload:02x?}");
    }

    #[test]
    fn classic_tags_are_understood() {
        let (video, audio) = (Kind::Video, Kind::Audio);
        check(
            video,
            &[0x17, 0, 0, 0, 0, 1, 2],
            vec![packet(0, Coding::H264, Part::Start, &[1, 2])],
        );
        check(
            video,
            &[0x27, 1, 0xff, 0xff, 0xd8, 9],
            vec![packet(0, Coding::H264, Part::Frame(-40), &[9])],
        );
        check(
            video,
            &[0x17, 1, 0, 0, 80, 9],
            vec![packet(0, Coding::H264, Part::Frame(80), &[9])],
        );
        check(
            video,
            &[0x17, 2, 0, 0, 0],
            vec![packet(0, Coding::H264, Part::End, &[])],
        );
        check(
            video,
            &[0x1c, 1, 0, 0, 1, 7],
            vec![packet(0, Coding::H265, Part::Frame(1), &[7])],
        );
        check(
            video,
            &[0x12, 8],
            vec![packet(0, Coding::Legacy("Sorenson H.263"), Part::Frame(0), &[8])],
        );
        check(video, &[0x57, 0], vec![]);
        check(video, &[], vec![]);
        check(
            audio,
            &[0xaf, 0, 0x11, 0x90],
            vec![packet(0, Coding::Aac, Part::Start, &[0x11, 0x90])],
        );
        check(audio, &[0xaf, 1, 5], vec![packet(0, Coding::Aac, Part::Frame(0), &[5])]);
        check(audio, &[0x2f, 6], vec![packet(0, Coding::Mp3, Part::Frame(0), &[6])]);
        let telephony = Coding::G711 {
            mu_law: false,
            channels: 1,
        };
        check(audio, &[0x72, 6], vec![packet(0, telephony, Part::Frame(0), &[6])]);
    }

    #[test]
    fn enhanced_tags_are_understood() {
        let (video, audio) = (Kind::Video, Kind::Audio);
        check(video, b"\x90hvc1\x01", vec![packet(0, Coding::H265, Part::Start, &[1])]);
        check(
            video,
            b"\x91hvc1\xff\xff\xffx",
            vec![packet(0, Coding::H265, Part::Frame(-1), b"x")],
        );
        check(video, b"\xa3avc1x", vec![packet(0, Coding::H264, Part::Frame(0), b"x")]);
        check(video, b"\xa1av01x", vec![packet(0, Coding::Av1, Part::Frame(0), b"x")]);
        check(video, b"\x92vp09", vec![packet(0, Coding::Vp9, Part::End, b"")]);
        check(video, b"\x94hvc1\x02\0\x09colorInfo", vec![]);
        check(video, b"\xd1\x00", vec![]);
        check(
            video,
            b"\x91vvc1x",
            vec![packet(0, Coding::Unknown(*b"vvc1"), Part::Frame(0), b"x")],
        );
        check(audio, b"\x90Opusx", vec![packet(0, Coding::Opus, Part::Start, b"x")]);
        check(audio, b"\x91fLaCx", vec![packet(0, Coding::Flac, Part::Frame(0), b"x")]);
        check(audio, b"\x94Opus\0\x02", vec![]);
    }

    #[test]
    fn packets_of_many_tracks_come_apart() {
        let one = b"\x95\x01mp4a\x03xy";
        check(Kind::Audio, one, vec![packet(3, Coding::Aac, Part::Frame(0), b"xy")]);
        let many = b"\x96\x11hvc1\x00\0\0\x05\0\0\x02ab\x01\0\0\x03\0\0\0";
        let expected = vec![
            packet(0, Coding::H265, Part::Frame(2), b"ab"),
            packet(1, Coding::H265, Part::Frame(0), b""),
        ];
        check(Kind::Video, many, expected);
        let codecs = b"\x96\x20avc1\x00\0\0\x01aav01\x05\0\0\x02bc";
        let expected = vec![
            packet(0, Coding::H264, Part::Start, b"a"),
            packet(5, Coding::Av1, Part::Start, b"bc"),
        ];
        check(Kind::Video, codecs, expected);
        let endless = [&b"\x95\x11mp4a"[..], &b"\0\0\0\0".repeat(100)].concat();
        assert_eq!(read(Kind::Audio, &endless), Err(Error::TooLarge("tracks of a tag")));
        assert_eq!(
            read(Kind::Audio, b"\x95\x31mp4a"),
            Err(Error::Invalid("multitrack type"))
        );
    }

    #[test]
    fn nanoseconds_come_from_modifiers() {
        let tag = b"\x97\x02\x07\xa1\x20\x01Opusx";
        let packets = read(Kind::Audio, tag).unwrap();
        assert_eq!(packets.nanoseconds, 500_000);
        assert_eq!(packets.packets, [packet(0, Coding::Opus, Part::Frame(0), b"x")]);
        // An unknown modifier with a long size, and a known one behind it.
        let tag = [&b"\xa7\xff\x01\x00"[..], &[0; 257], b"\x17\x02\x00\x00\x07\x03hvc1x"].concat();
        let packets = read(Kind::Video, &tag).unwrap();
        assert_eq!(packets.nanoseconds, 7);
        assert_eq!(packets.packets, [packet(0, Coding::H265, Part::Frame(0), b"x")]);
        let endless = [&b"\x97"[..], &b"\x00\0\x17".repeat(20)].concat();
        assert_eq!(read(Kind::Audio, &endless), Err(Error::TooLarge("modifiers of a tag")));
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_packet() {
        let tags: [(Kind, &[u8]); 5] = [
            (Kind::Video, &[0x17, 1, 0, 0, 80]),
            (Kind::Video, b"\x91hvc1\0\0\0"),
            (Kind::Audio, b"\xaf\x01"),
            (Kind::Audio, b"\x97\x02\x07\xa1\x20\x01Opus"),
            (Kind::Video, b"\x96\x20avc1\x00\0\0\x01a"),
        ];
        for (kind, tag) in tags {
            assert_eq!(read(kind, tag).unwrap().packets.len(), 1);
            for length in 1..tag.len() {
                let cut = read(kind, &tag[..length]);
                assert!(
                    cut == Err(Error::Truncated) || cut.is_ok_and(|cut| cut.packets.is_empty()),
                    "{length}"
                );
            }
        }
    }
}
