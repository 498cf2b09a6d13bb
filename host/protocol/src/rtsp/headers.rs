//! The headers with a grammar of their own: Session, Range and RTP-Info (RFC 2326 sections 12.37, 12.29 and 12.33).
//! Transport has its own file.
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

use std::fmt;
use std::time::Duration;

use super::Error;

/// Bytes of a session id that are taken from a peer.
pub const MAX_SESSION_ID: usize = 256;
/// Entries of an `RTP-Info` that are taken from a peer.
pub const MAX_RTP_INFO: usize = super::sdp::MAX_MEDIAS;
/// The furthest moment of normal play time, thirty thousand years from the beginning.
const MAX_NPT_SECONDS: u64 = 999_999_999_999;

/// The value of `Session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id.
    pub id: String,
    /// After how many seconds of silence the server forgets the session; 60 when absent.
    pub timeout: Option<u32>,
}

impl Session {
    /// Parses a header's value.
    pub fn parse(value: &str) -> Result<Session, Error> {
        let mut parts = value.split(';').map(str::trim);
        let id = parts.next().unwrap_or_default();
        if id.is_empty() || id.len() > MAX_SESSION_ID || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Session);
        }
        let mut timeout = None;
        for part in parts {
            if let Some(("timeout", seconds)) = part.split_once('=').map(|(k, v)| (k.trim(), v.trim())) {
                timeout = Some(seconds.parse().map_err(|_| Error::Session)?);
            }
        }
        Ok(Session {
            id: id.to_owned(),
            timeout,
        })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeout {
            Some(timeout) => write!(f, "{};timeout={timeout}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// One entry of `RTP-Info`: where a media's packets start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// The media's URL.
    pub url: String,
    /// The sequence number of the first packet.
    pub sequence: Option<u16>,
    /// The RTP timestamp that stands for the start of the range.
    pub timestamp: Option<u32>,
}

impl RtpInfo {
    /// Parses a header's value.
    pub fn parse_list(value: &str) -> Result<Vec<RtpInfo>, Error> {
        let mut list = Vec::new();
        // A URL may hold commas: an entry begins at a comma only if "url=" follows.
        let mut rest = value.trim();
        while !rest.is_empty() {
            if list.len() >= MAX_RTP_INFO {
                return Err(Error::RtpInfo);
            }
            let (entry, next) = split_entry(rest);
            list.push(RtpInfo::parse(entry)?);
            rest = next;
        }
        Ok(list)
    }

    fn parse(entry: &str) -> Result<RtpInfo, Error> {
        let entry = entry.strip_prefix("url=").ok_or(Error::RtpInfo)?;
        let mut info = RtpInfo {
            url: String::new(),
            sequence: None,
            timestamp: None,
        };
        // URLs hold semicolons in places too: the parameters are taken off the end.
        let mut rest = entry.trim();
        while let Some((front, last)) = rest.rsplit_once(';') {
            let Some((key, value)) = last.split_once('=') else {
                break;
            };
            match key.trim() {
                "seq" if info.sequence.is_none() => {
                    info.sequence = Some(value.trim().parse().map_err(|_| Error::RtpInfo)?);
                }
                "rtptime" if info.timestamp.is_none() => {
                    info.timestamp = Some(value.trim().parse().map_err(|_| Error::RtpInfo)?);
                }
                _ => break,
            }
            rest = front.trim_end();
        }
        let url = rest.trim_matches(|c: char| matches!(c, '"' | ',') || c.is_whitespace());
        if url.is_empty() {
            return Err(Error::RtpInfo);
        }
        info.url = url.to_owned();
        Ok(info)
    }

    /// The header's value for these entries.
    pub fn write_list(list: &[RtpInfo]) -> String {
        list.iter().map(RtpInfo::to_string).collect::<Vec<_>>().join(",")
    }
}

fn split_entry(list: &str) -> (&str, &str) {
    for (at, _) in list.match_indices(',') {
        let (entry, tail) = (list.get(..at).unwrap_or_default(), list.get(at..).unwrap_or_default());
        let next = tail.strip_prefix(',').unwrap_or_default().trim_start();
        if next.starts_with("url=") || next.is_empty() {
            return (entry, next);
        }
    }
    (list, "")
}

impl fmt::Display for RtpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "url={}", self.url)?;
        if let Some(sequence) = self.sequence {
            write!(f, ";seq={sequence}")?;
        }
        if let Some(timestamp) = self.timestamp {
            write!(f, ";rtptime={timestamp}")?;
        }
        Ok(())
    }
}

/// The value of `Range` (RFC 2326 sections 3.5 to 3.7 and 12.29). A `time=` parameter is read over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Normal play time. At least one end is given.
    Npt {
        /// Where it starts.
        start: Option<Npt>,
        /// Where it ends.
        end: Option<Npt>,
    },
    /// Wall-clock time, UTC.
    Clock {
        /// Where it starts.
        start: Utc,
        /// Where it ends.
        end: Option<Utc>,
    },
    /// Frames, counted as in a studio.
    Smpte {
        /// How frames are counted.
        rate: SmpteRate,
        /// Where it starts.
        start: Smpte,
        /// Where it ends.
        end: Option<Smpte>,
    },
}

/// A moment of normal play time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Npt {
    /// The live edge.
    Now,
    /// This far from the beginning.
    At(Duration),
}

/// A moment of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year, month, day as one number: `20260131`.
    pub date: u32,
    /// Hour, minute, second as one number: `235959`.
    pub time: u32,
    /// The fraction of the second.
    pub nanos: u32,
}

/// How SMPTE time counts frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmpteRate {
    /// `smpte`, the same as `smpte-30-drop`.
    Default,
    /// 29.97 frames a second, two numbers left out every minute.
    Drop30,
    /// 25 frames a second.
    Fps25,
}

/// A moment of SMPTE time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smpte {
    /// Hours.
    pub hours: u8,
    /// Minutes.
    pub minutes: u8,
    /// Seconds.
    pub seconds: u8,
    /// Frames.
    pub frames: u8,
    /// Hundredths of a frame.
    pub subframes: u8,
}

impl Range {
    /// Parses a header's value.
    pub fn parse(value: &str) -> Result<Range, Error> {
        let value = value.split(';').next().unwrap_or_default().trim();
        let (unit, times) = value.split_once('=').ok_or(Error::Range)?;
        let (start, end) = times.trim().split_once('-').ok_or(Error::Range)?;
        let (start, end) = (start.trim(), end.trim());
        let rate = match unit.trim() {
            "npt" => {
                let (start, end) = (optional(start, parse_npt)?, optional(end, parse_npt)?);
                return if start.is_none() && end.is_none() {
                    Err(Error::Range)
                } else {
                    Ok(Range::Npt { start, end })
                };
            }
            "clock" => {
                return Ok(Range::Clock {
                    start: parse_utc(start)?,
                    end: optional(end, parse_utc)?,
                });
            }
            "smpte" => SmpteRate::Default,
            "smpte-30-drop" => SmpteRate::Drop30,
            "smpte-25" => SmpteRate::Fps25,
            _ => return Err(Error::Range),
        };
        Ok(Range::Smpte {
            rate,
            start: parse_smpte(start)?,
            end: optional(end, parse_smpte)?,
        })
    }

    /// From the live edge on, without an end: what a live stream answers to PLAY.
    pub fn from_start() -> Range {
        Range::Npt {
            start: Some(Npt::At(Duration::ZERO)),
            end: None,
        }
    }
}

fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Option<T>, Error> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

fn parse_npt(text: &str) -> Result<Npt, Error> {
    if text == "now" {
        return Ok(Npt::Now);
    }
    let (whole, nanos) = split_fraction(text)?;
    let mut seconds: u64 = 0;
    for (count, part) in whole.split(':').enumerate() {
        let part: u64 = digits(part, 12)?;
        if count > 2 || (count > 0 && part > 59) {
            return Err(Error::Range);
        }
        seconds = seconds
            .checked_mul(60)
            .and_then(|s| s.checked_add(part))
            .ok_or(Error::Range)?;
    }
    if seconds > MAX_NPT_SECONDS {
        Err(Error::Range)
    } else {
        Ok(Npt::At(Duration::new(seconds, nanos)))
    }
}

fn parse_utc(text: &str) -> Result<Utc, Error> {
    let (date, time) = text
        .strip_suffix('Z')
        .and_then(|t| t.split_once('T'))
        .ok_or(Error::Range)?;
    let (time, nanos) = split_fraction(time)?;
    if date.len() != 8 || time.len() != 6 {
        return Err(Error::Range);
    }
    Ok(Utc {
        date: digits(date, 8)?,
        time: digits(time, 6)?,
        nanos,
    })
}

fn parse_smpte(text: &str) -> Result<Smpte, Error> {
    let (text, subframes) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = text.split(':');
    let mut next = |needed: bool| match parts.next() {
        Some(part) => digits(part, 2),
        None if needed => Err(Error::Range),
        None => Ok(0),
    };
    let smpte = Smpte {
        hours: next(true)?,
        minutes: next(true)?,
        seconds: next(true)?,
        frames: next(false)?,
        subframes: digits(subframes, 2)?,
    };
    if parts.next().is_some() {
        Err(Error::Range)
    } else {
        Ok(smpte)
    }
}

/// The part in front of the decimal point, and the one behind it in nanoseconds (more digits are cut off).
fn split_fraction(text: &str) -> Result<(&str, u32), Error> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return Ok((text, 0));
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Range);
    }
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Ok((whole, digits(&padded, 9)?))
}

/// A number of at most `most` digits and nothing else (`parse` alone would take a sign).
fn digits<T: std::str::FromStr>(text: &str, most: usize) -> Result<T, Error> {
    if text.is_empty() || text.len() > most || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Range);
    }
    text.parse().map_err(|_| Error::Range)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Npt { start, end } => {
                f.write_str("npt=")?;
                write_ends(f, start.as_ref(), end.as_ref())
            }
            Range::Clock { start, end } => {
                f.write_str("clock=")?;
                write_ends(f, Some(start), end.as_ref())
            }
            Range::Smpte { rate, start, end } => {
                f.write_str(match rate {
                    SmpteRate::Default => "smpte=",
                    SmpteRate::Drop30 => "smpte-30-drop=",
                    SmpteRate::Fps25 => "smpte-25=",
                })?;
                write_ends(f, Some(start), end.as_ref())
            }
        }
    }
}

fn write_ends<T: fmt::Display>(f: &mut fmt::Formatter<'_>, start: Option<&T>, end: Option<&T>) -> fmt::Result {
    if let Some(start) = start {
        start.fmt(f)?;
    }
    f.write_str("-")?;
    if let Some(end) = end {
        end.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for Npt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Npt::Now => f.write_str("now"),
            Npt::At(at) => {
                write!(f, "{}", at.as_secs())?;
                write_fraction(f, at.subsec_nanos())
            }
        }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}T{:06}", self.date, self.time)?;
        write_fraction(f, self.nanos)?;
        f.write_str("Z")
    }
}

impl fmt::Display for Smpte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02}:{:02}:{:02}:{:02}.{:02}",
            self.hours, self.minutes, self.seconds, self.frames, self.subframes
        )
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    let digits = format!("{nanos:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests;
