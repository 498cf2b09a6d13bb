//! Names of files below a granted directory.
//!
//! Wider than path names: where recordings go is the operator's choice, and `recordPath` may hold colons, blanks and
//! letters of any language.

use std::fmt;

use super::Error;

/// Bytes of a whole name.
const NAME_LEN: usize = 1_024;
/// Bytes of one segment (`NAME_MAX`).
const SEGMENT_LEN: usize = 255;
/// Segments of a name.
const SEGMENTS: usize = 16;

/// A name that leads to one place below a directory: segments of printable characters, none of them `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn new(name: &str) -> Result<Name, Error> {
        let segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.len() <= SEGMENT_LEN
                && !segment.chars().any(char::is_control)
        };
        let fits = name.len() <= NAME_LEN && name.split('/').count() <= SEGMENTS;
        if fits && name.split('/').all(segment) {
            Ok(Name(name.to_owned()))
        } else {
            Err(Error::NotGranted)
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories of it, and its last segment.
    pub(super) fn split(&self) -> (Vec<&str>, &str) {
        let mut segments: Vec<&str> = self.0.split('/').collect();
        let leaf = segments.pop().unwrap_or_default();
        (segments, leaf)
    }

    /// What stands in a directory, if it can have a name. The directory is empty for the outermost.
    pub(super) fn below(directory: &str, leaf: &str) -> Option<Name> {
        match directory {
            "" => Name::new(leaf).ok(),
            _ => Name::new(&format!("{directory}/{leaf}")).ok(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_whatever_can_be_printed() {
        for name in [
            "x",
            "-x",
            "cam 1/2026-11-22_10:00:00+01:00.mp4",
            "…/ü/カメラ",
            "a...b/.hidden",
            "%path",
            &vec!["a"; SEGMENTS].join("/"),
            &"x".repeat(SEGMENT_LEN),
        ] {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_lead_to_one_place_below_and_are_bounded() {
        for name in [
            "",
            "/",
            "/x",
            "x/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "./x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            &vec!["a"; SEGMENTS + 1].join("/"),
            &"x".repeat(SEGMENT_LEN + 1),
            &vec!["x".repeat(200); 6].join("/"),
        ] {
            assert!(matches!(Name::new(name), Err(Error::NotGranted)), "{name:?}");
        }
    }
}
