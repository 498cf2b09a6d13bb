//! The Transport header (RFC 2326 section 12.39): every alternative that a client offers, and the one that a server
//! picked.
//!
//! `source` and `destination` of a client are read over: media goes to the address that the connection comes from and to
//! no other. Unknown parameters are read over as the RFC asks.
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
use std::net::IpAddr;

use super::Error;

/// Alternatives that are taken from one header.
pub const MAX_ALTERNATIVES: usize = 16;

/// Which protocol carries RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lower {
    /// Datagrams.
    Udp,
    /// The RTSP connection.
    Tcp,
}

/// Plain or encrypted RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `RTP/AVP` and `RTP/AVPF`.
    Avp,
    /// `RTP/SAVP` and `RTP/SAVPF` (RFC 3711).
    Savp,
}

/// What the media will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Flow to the client.
    Play,
    /// Flow from the client.
    Record,
}

/// One alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Plain or encrypted.
    pub profile: Profile,
    /// Datagrams or the connection.
    pub lower: Lower,
    /// To a group instead of one address.
    pub multicast: bool,
    /// Channels of RTP and RTCP inside the connection.
    pub interleaved: Option<(u8, u8)>,
    /// The client's ports of RTP and RTCP.
    pub client_port: Option<(u16, u16)>,
    /// The server's ports of RTP and RTCP.
    pub server_port: Option<(u16, u16)>,
    /// The group's ports of RTP and RTCP.
    pub port: Option<(u16, u16)>,
    /// The group, in a server's answer. Never read from a client.
    pub destination: Option<IpAddr>,
    /// The group's time to live.
    pub ttl: Option<u8>,
    /// The sender's synchronisation source.
    pub ssrc: Option<u32>,
    /// Play when absent.
    pub mode: Option<Mode>,
}

impl Transport {
    /// Plain RTP over this protocol, to one address.
    pub fn new(lower: Lower) -> Transport {
        Transport {
            profile: Profile::Avp,
            lower,
            multicast: false,
            interleaved: None,
            client_port: None,
            server_port: None,
            port: None,
            destination: None,
            ttl: None,
            ssrc: None,
            mode: None,
        }
    }

    /// Parses all alternatives of a header's value, in their order. Those for something else than RTP are left out, so
    /// the list may be empty.
    pub fn parse_list(value: &str) -> Result<Vec<Transport>, Error> {
        let mut list = Vec::new();
        for (count, alternative) in split_outside_quotes(value, ',').enumerate() {
            if count >= MAX_ALTERNATIVES {
                return Err(Error::Transport);
            }
            list.extend(Transport::parse(alternative)?);
        }
        Ok(list)
    }

    fn parse(alternative: &str) -> Result<Option<Transport>, Error> {
        let mut parameters = split_outside_quotes(alternative, ';').map(str::trim);
        let spec = parameters.next().unwrap_or_default();
        let (profile, lower) = match spec.to_ascii_uppercase().as_str() {
            "" => return Err(Error::Transport),
            "RTP/AVP" | "RTP/AVP/UDP" | "RTP/AVPF" | "RTP/AVPF/UDP" => (Profile::Avp, Lower::Udp),
            "RTP/AVP/TCP" | "RTP/AVPF/TCP" => (Profile::Avp, Lower::Tcp),
            "RTP/SAVP" | "RTP/SAVP/UDP" | "RTP/SAVPF" | "RTP/SAVPF/UDP" => (Profile::Savp, Lower::Udp),
            "RTP/SAVP/TCP" | "RTP/SAVPF/TCP" => (Profile::Savp, Lower::Tcp),
            // "RAW/RAW/UDP", "x-real-rdt/udp" and the like.
            _ => return Ok(None),
        };
        let mut transport = Transport {
            profile,
            ..Transport::new(lower)
        };
        for parameter in parameters {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "multicast" => transport.multicast = true,
                "unicast" => transport.multicast = false,
                "interleaved" => transport.interleaved = Some(parse_pair(value, u8::checked_add)?),
                "client_port" => transport.client_port = Some(parse_pair(value, u16::checked_add)?),
                "server_port" => transport.server_port = Some(parse_pair(value, u16::checked_add)?),
                "port" => transport.port = Some(parse_pair(value, u16::checked_add)?),
                // Read for the client half, which joins the group that a server names. An address that cannot be read
                // is as good as none (some clients send an empty one).
                "destination" => transport.destination = value.parse().ok(),
                "ttl" => transport.ttl = Some(value.parse().map_err(|_| Error::Transport)?),
                // Some embedded servers write it as decimal or with blanks; it is a hint only.
                "ssrc" => transport.ssrc = u32::from_str_radix(value.trim(), 16).ok().or(transport.ssrc),
                "mode" => transport.mode = parse_mode(value),
                _ => {}
            }
        }
        Ok(Some(transport))
    }

    /// The header's value for these alternatives.
    pub fn write_list(list: &[Transport]) -> String {
        list.iter().map(Transport::to_string).collect::<Vec<_>>().join(",")
    }
}

fn parse_mode(value: &str) -> Option<Mode> {
    // FFmpeg before 2.0 wrote "receive" when it published.
    if value.eq_ignore_ascii_case("record") || value.eq_ignore_ascii_case("receive") {
        Some(Mode::Record)
    } else if value.eq_ignore_ascii_case("play") {
        Some(Mode::Play)
    } else {
        None
    }
}

/// `a-b`, or `a` alone, which means the pair that begins there.
fn parse_pair<T: std::str::FromStr + Copy + From<u8>>(
    value: &str,
    add: impl Fn(T, T) -> Option<T>,
) -> Result<(T, T), Error> {
    let parse = |text: &str| text.trim().parse::<T>().map_err(|_| Error::Transport);
    match value.split_once('-') {
        Some((first, second)) => Ok((parse(first)?, parse(second)?)),
        None => {
            let first = parse(value)?;
            Ok((first, add(first, T::from(1)).ok_or(Error::Transport)?))
        }
    }
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.profile {
            Profile::Avp => "RTP/AVP",
            Profile::Savp => "RTP/SAVP",
        })?;
        f.write_str(match self.lower {
            // The short form is what the oldest clients look for.
            Lower::Udp => "",
            Lower::Tcp => "/TCP",
        })?;
        f.write_str(if self.multicast { ";multicast" } else { ";unicast" })?;
        if let Some(destination) = self.destination {
            write!(f, ";destination={destination}")?;
        }
        if let Some((rtp, rtcp)) = self.interleaved {
            write!(f, ";interleaved={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.client_port {
            write!(f, ";client_port={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.server_port {
            write!(f, ";server_port={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.port {
            write!(f, ";port={rtp}-{rtcp}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, ";ttl={ttl}")?;
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        match self.mode {
            Some(Mode::Play) => f.write_str(";mode=play"),
            Some(Mode::Record) => f.write_str(";mode=record"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
