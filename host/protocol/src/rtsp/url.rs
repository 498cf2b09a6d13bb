//! The URLs of RTSP requests: which path, which query, which media.
//!
//! A media's URL is its stream's URL with the media's control behind it, and clients disagree about where a query goes:
//!
//! ```text
//! rtsp://host/cam/1/trackID=0            no query
//! rtsp://host/cam/1/trackID=0?token=x    GStreamer: control goes to the path
//! rtsp://host/cam/1?token=x/trackID=0    FFmpeg, VLC: control is appended to the text
//! rtsp://host/cam/1/?token=x             a Content-Base that was given a query
//! ```
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

use super::Error;
use crate::percent;

/// The control of the n-th media of a stream that this server describes is this with `n` behind it.
pub const TRACK_CONTROL: &str = "trackID=";

/// An absolute URL of a request, cut into its parts. All are as sent; [`Url::decoded_path`] decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `rtsp`, `rtsps` or `rtspu`, in lower case.
    pub scheme: String,
    /// Host and port, without user and password. Empty in a URL that is only a path.
    pub authority: String,
    /// What follows the authority, without the slash in front of it and without a query.
    pub path: String,
    /// What follows the question mark; empty when there was none.
    pub query: String,
}

impl Url {
    /// Parses a request's URL. A bare path (`/cam`), which RFC 2326 does not allow but some clients send, is read too.
    pub fn parse(url: &str) -> Result<Url, Error> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None if url.starts_with('/') => ("rtsp".to_owned(), url),
            None => return Err(Error::Url),
        };
        if !matches!(scheme.as_str(), "rtsp" | "rtsps" | "rtspu") {
            return Err(Error::Url);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).ok_or(Error::Url)?;
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // A fragment means nothing to a server; "#" inside a query is left to it.
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.split('#').next().unwrap_or_default();
        Ok(Url {
            scheme,
            authority: authority.to_owned(),
            path: path.strip_prefix('/').unwrap_or(path).to_owned(),
            query: query.to_owned(),
        })
    }

    /// Takes the control that follows `base`, a stream's own path, off this URL: out of the path or off the query's end.
    /// `None` when this is the URL of another stream. `base` has no slashes around it.
    pub fn control_below(&self, base: &str) -> Option<&str> {
        let below = self.path.trim_start_matches('/').strip_prefix(base)?;
        if !below.is_empty() && !below.starts_with('/') && !base.is_empty() {
            return None;
        }
        let below = below.trim_matches('/');
        if !below.is_empty() {
            return Some(below);
        }
        Some(self.query.rsplit_once('/').map_or("", |(_, control)| control))
    }

    /// Cuts off a control of the sort that this server hands out: `trackID=0` and the like as the last segment, whether
    /// of the path or behind the query. Gives the number of the media.
    pub fn take_track(&mut self) -> Option<usize> {
        for part in [&mut self.path, &mut self.query] {
            let trimmed = part.trim_end_matches('/');
            let (front, last) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
            if let Some(number) = last.strip_prefix(TRACK_CONTROL)
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
                && let Ok(number) = number.parse()
            {
                *part = front.to_owned();
                return Some(number);
            }
        }
        None
    }

    /// The path, percent-decoded once, without slashes around it.
    pub fn decoded_path(&self) -> Result<String, Error> {
        percent::decode(self.path.trim_matches('/')).ok_or(Error::Url)
    }

    /// The query without the slash that clients leave at its end when they take `Content-Base` for a prefix.
    pub fn bare_query(&self) -> &str {
        self.query.trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests;
