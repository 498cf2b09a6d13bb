//! Session descriptions (RFC 4566) as RTSP uses them: medias, their formats and their control URLs.
//!
//! Only what a live stream needs is kept; other lines are read over. Reading is lenient where cameras and encoders are
//! careless (line ends, order of lines, Latin-1 in names, media lines without `a=rtpmap`) and strict where a number
//! would be trusted later (payload types, clock rates, counts).
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

use std::collections::HashSet;
use std::fmt;

use wasmtx_media::Kind;

use super::Error;
use super::message::MAX_BODY;
use super::url::TRACK_CONTROL;
use crate::rtp::Format;

/// Medias of one description.
pub const MAX_MEDIAS: usize = 16;
/// Formats of one media.
pub const MAX_FORMATS: usize = 32;
/// Bytes of a description.
pub const MAX_SDP: usize = MAX_BODY;

/// Ticks per second where neither `a=rtpmap` nor RFC 3551 names them: data streams that FFmpeg has no mapping for.
const DEFAULT_CLOCK_RATE: u32 = 90_000;

/// A description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The value of `s=`.
    pub name: String,
    /// The session's own control URL; empty when it has none, `*` when it is the URL that was described.
    pub control: String,
    /// The medias in their order.
    pub medias: Vec<Media>,
}

/// One media line with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `m=video` is video, `m=audio` audio, the rest data.
    pub kind: Kind,
    /// The control URL, absolute or relative; empty when there is none.
    pub control: String,
    /// Who sends, as the description's author sees it (in RTSP: as the *client* of the description's author).
    pub direction: Direction,
    /// Formats in the order of the media line; empty when the media is not RTP.
    pub formats: Vec<Format>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both, which is what no attribute means.
    #[default]
    SendRecv,
    /// `a=sendonly`.
    SendOnly,
    /// `a=recvonly`.
    RecvOnly,
    /// `a=inactive`.
    Inactive,
}

impl Media {
    /// Whether a media of a *described* stream is a back channel, by which a client talks to the camera: ONVIF Streaming
    /// Specification section 5.3 marks it `a=sendonly`, from the client's side.
    pub fn is_back_channel(&self) -> bool {
        self.direction == Direction::SendOnly
    }
}

impl Session {
    /// The description of a live stream with one media per format.
    pub fn describe(name: impl Into<String>, formats: impl IntoIterator<Item = Format>) -> Session {
        let medias = formats.into_iter().enumerate().map(|(number, format)| Media {
            kind: format.kind,
            control: format!("{TRACK_CONTROL}{number}"),
            direction: Direction::SendRecv,
            formats: vec![format],
        });
        Session {
            name: name.into(),
            control: "*".to_owned(),
            medias: medias.collect(),
        }
    }

    /// Parses a description.
    pub fn parse(sdp: &[u8]) -> Result<Session, Error> {
        if sdp.len() > MAX_SDP {
            return Err(Error::BodyTooLarge);
        }
        // Some cameras end a description with NUL. Other control characters would travel on into headers and to readers.
        let text = String::from_utf8_lossy(sdp).replace(|c: char| c.is_ascii_control() && !"\r\n".contains(c), " ");
        let mut session = Session::default();
        let mut direction = Direction::default();
        let mut media: Option<Draft> = None;
        let mut versioned = false;
        for line in text
            .split(['\n', '\r', '\0'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (kind, value) = line.split_once('=').ok_or(Error::Sdp)?;
            if !versioned && kind != "v" {
                return Err(Error::Sdp);
            }
            versioned = true;
            match (kind, &mut media) {
                ("m", _) => {
                    session.finish(media.take())?;
                    media = Some(Draft::parse(value, direction)?);
                }
                ("a", Some(media)) => media.attribute(value)?,
                ("a", None) => {
                    let (key, value) = value.split_once(':').unwrap_or((value, ""));
                    match key {
                        "control" => session.control = value.trim().to_owned(),
                        key => direction = Direction::from_name(key).unwrap_or(direction),
                    }
                }
                // RFC 4566 section 5.3: a dash stands for no name.
                ("s", None) => {
                    session.name = Some(value.trim())
                        .filter(|name| *name != "-")
                        .unwrap_or_default()
                        .to_owned()
                }
                _ => {}
            }
        }
        session.finish(media)?;
        if !versioned {
            return Err(Error::Sdp);
        }
        let mut controls = HashSet::new();
        for media in &session.medias {
            if !media.control.is_empty() && !controls.insert(media.control.as_str()) {
                return Err(Error::DuplicateControl);
            }
        }
        Ok(session)
    }

    fn finish(&mut self, media: Option<Draft>) -> Result<(), Error> {
        let Some(media) = media else { return Ok(()) };
        if self.medias.len() >= MAX_MEDIAS {
            return Err(Error::TooManyMedias);
        }
        self.medias.push(media.finish()?);
        Ok(())
    }
}

impl Direction {
    fn from_name(name: &str) -> Option<Direction> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// A media whose attributes are still being read: `a=rtpmap` and `a=fmtp` come in any order.
struct Draft {
    kind: Kind,
    control: String,
    direction: Direction,
    payload_types: Vec<u8>,
    rtpmaps: Vec<(u8, Mapping)>,
    fmtps: Vec<(u8, String)>,
}

struct Mapping {
    encoding: String,
    clock_rate: u32,
    channels: u8,
}

impl Draft {
    /// `video 0 RTP/AVP 96 97`
    fn parse(line: &str, direction: Direction) -> Result<Draft, Error> {
        let mut words = line.split_ascii_whitespace();
        let kind = match words.next() {
            Some("video") => Kind::Video,
            Some("audio") => Kind::Audio,
            Some(_) => Kind::Data,
            None => return Err(Error::Sdp),
        };
        words.next().ok_or(Error::Sdp)?;
        let protocol = words.next().ok_or(Error::Sdp)?;
        let mut payload_types = Vec::new();
        if protocol.contains("RTP/") {
            for word in words {
                let payload_type = parse_payload_type(word)?;
                if payload_types.len() >= MAX_FORMATS {
                    return Err(Error::MediaFormat);
                }
                if !payload_types.contains(&payload_type) {
                    payload_types.push(payload_type);
                }
            }
        }
        let (control, rtpmaps, fmtps) = Default::default();
        Ok(Draft {
            kind,
            control,
            direction,
            payload_types,
            rtpmaps,
            fmtps,
        })
    }

    fn attribute(&mut self, attribute: &str) -> Result<(), Error> {
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        match key {
            "control" => self.control = value.to_owned(),
            "rtpmap" if !self.payload_types.is_empty() => {
                let (payload_type, mapping) = value.split_once([' ', '\t']).ok_or(Error::MediaFormat)?;
                let payload_type = parse_payload_type(payload_type)?;
                let mapping = Mapping::parse(mapping.trim())?;
                if self.keeps(payload_type, self.rtpmaps.iter().map(|(p, _)| *p)) {
                    self.rtpmaps.push((payload_type, mapping));
                }
            }
            "fmtp" if !self.payload_types.is_empty() => {
                let (payload_type, parameters) = value.split_once([' ', '\t']).unwrap_or((value, ""));
                let payload_type = parse_payload_type(payload_type)?;
                if self.keeps(payload_type, self.fmtps.iter().map(|(p, _)| *p)) {
                    self.fmtps.push((payload_type, parameters.trim().to_owned()));
                }
            }
            key => self.direction = Direction::from_name(key).unwrap_or(self.direction),
        }
        Ok(())
    }

    /// The first attribute for each payload type of the media line counts.
    fn keeps(&self, payload_type: u8, mut had: impl Iterator<Item = u8>) -> bool {
        self.payload_types.contains(&payload_type) && !had.any(|p| p == payload_type)
    }

    fn finish(mut self) -> Result<Media, Error> {
        let mut formats = Vec::new();
        for payload_type in &self.payload_types {
            let mapping = match self.rtpmaps.iter().position(|(p, _)| p == payload_type) {
                Some(at) => self.rtpmaps.swap_remove(at).1,
                None => {
                    let (clock_rate, channels) = static_clock(*payload_type).unwrap_or((DEFAULT_CLOCK_RATE, 1));
                    Mapping {
                        encoding: String::new(),
                        clock_rate,
                        channels,
                    }
                }
            };
            let fmtp = self
                .fmtps
                .iter()
                .find(|(p, _)| p == payload_type)
                .map(|(_, f)| f.clone())
                .unwrap_or_default();
            formats.push(Format {
                kind: self.kind,
                payload_type: *payload_type,
                encoding: mapping.encoding,
                clock_rate: mapping.clock_rate,
                channels: mapping.channels,
                fmtp,
            });
        }
        Ok(Media {
            kind: self.kind,
            control: self.control,
            direction: self.direction,
            formats,
        })
    }
}

impl Mapping {
    /// `L16/44100/2`
    fn parse(value: &str) -> Result<Mapping, Error> {
        let mut parts = value.split('/').map(str::trim);
        let encoding = parts.next().unwrap_or_default();
        let clock_rate = parts.next().and_then(|p| p.parse::<u32>().ok()).filter(|r| *r != 0);
        let channels = match parts.next() {
            None | Some("") => 1,
            Some(part) => part.parse::<u8>().ok().filter(|c| *c != 0).ok_or(Error::MediaFormat)?,
        };
        if encoding.is_empty() {
            return Err(Error::MediaFormat);
        }
        Ok(Mapping {
            encoding: encoding.to_owned(),
            clock_rate: clock_rate.ok_or(Error::MediaFormat)?,
            channels,
        })
    }
}

fn parse_payload_type(word: &str) -> Result<u8, Error> {
    word.parse::<u8>().ok().filter(|p| *p <= 127).ok_or(Error::MediaFormat)
}

/// Clock rate and channels of the payload types that have a meaning without `a=rtpmap` (RFC 3551 section 6).
fn static_clock(payload_type: u8) -> Option<(u32, u8)> {
    Some(match payload_type {
        0 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 13 | 15 | 18 => (8_000, 1),
        6 => (16_000, 1),
        10 => (44_100, 2),
        11 => (44_100, 1),
        14 | 25 | 26 | 28 | 31..=34 => (90_000, 1),
        16 => (11_025, 1),
        17 => (22_050, 1),
        _ => return None,
    })
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "-" } else { &self.name };
        write!(
            f,
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns={name}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        )?;
        if !self.control.is_empty() {
            write!(f, "a=control:{}\r\n", self.control)?;
        }
        self.medias.iter().try_for_each(|media| media.fmt(f))
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Data => "application",
        };
        let protocol = if self.formats.is_empty() { "-" } else { "RTP/AVP" };
        write!(f, "m={kind} 0 {protocol}")?;
        for format in &self.formats {
            write!(f, " {}", format.payload_type)?;
        }
        f.write_str("\r\n")?;
        if !self.control.is_empty() {
            write!(f, "a=control:{}\r\n", self.control)?;
        }
        for Format {
            payload_type,
            encoding,
            clock_rate,
            channels,
            fmtp,
            ..
        } in &self.formats
        {
            if !encoding.is_empty() {
                write!(f, "a=rtpmap:{payload_type} {encoding}/{clock_rate}")?;
                if *channels != 1 {
                    write!(f, "/{channels}")?;
                }
                f.write_str("\r\n")?;
            }
            if !fmtp.is_empty() {
                write!(f, "a=fmtp:{payload_type} {fmtp}\r\n")?;
            }
        }
        match self.direction {
            Direction::SendRecv => Ok(()),
            Direction::SendOnly => f.write_str("a=sendonly\r\n"),
            Direction::RecvOnly => f.write_str("a=recvonly\r\n"),
            Direction::Inactive => f.write_str("a=inactive\r\n"),
        }
    }
}

#[cfg(test)]
mod tests;
