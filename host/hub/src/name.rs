//! The one type of path name (threats T13 and T44: every protocol goes through it).

use std::{fmt, sync::Arc};

/// A path name: 1 to 8 segments of `[0-9A-Za-z_.-]` joined by `/`, at most 255 bytes.
///
/// Cheap to clone. There is no way to hold one that would leave a directory, name a device or look like an option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathName(Arc<str>);

/// Why a text is not a path name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path name: {0}")]
pub struct InvalidName(&'static str);

const MAX_LEN: usize = 255;
const MAX_SEGMENTS: usize = 8;

impl PathName {
    /// Checks a decoded name. Percent-decoding, when the protocol has any, comes before and happens once.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn new(name: &str) -> Result<PathName, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName("it is empty"));
        }
        if name.len() > MAX_LEN {
            return Err(InvalidName("it is longer than 255 bytes"));
        }
        if name.starts_with('/') || name.ends_with('/') {
            return Err(InvalidName("it begins or ends with a slash"));
        }
        if name.split('/').count() > MAX_SEGMENTS {
            return Err(InvalidName("it has more than 8 segments"));
        }
        name.split('/').try_for_each(check_segment)?;
        Ok(PathName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_segment(segment: &str) -> Result<(), InvalidName> {
    if segment.is_empty() {
        return Err(InvalidName("it has an empty segment"));
    }
    if segment == "." || segment == ".." {
        return Err(InvalidName("it has a dot segment"));
    }
    if segment.starts_with('-') {
        return Err(InvalidName("a segment begins with '-'"));
    }
    if !segment
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Err(InvalidName("only letters, digits, '_', '-', '.' and '/' are allowed"));
    }
    let stem = segment.split('.').next().unwrap_or(segment).to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|n| n.len() == 1 && n.bytes().all(|b| (b'1'..=b'9').contains(&b)))
    };
    if matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt") {
        return Err(InvalidName("a segment is a reserved device name"));
    }
    Ok(())
}

impl fmt::Display for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in [
            "cam1",
            "a/b/c",
            "Cam_1.front-door",
            "x..y",
            "com",
            "com10",
            "1/2/3/4/5/6/7/8",
        ] {
            assert_eq!(PathName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn names_that_could_leave_a_directory_or_confuse_a_tool_are_refused() {
        let long = "a".repeat(256);
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "-rf",
            "a/-b",
            "a b",
            "a%2fb",
            "a\\b",
            "a\0",
            "ü",
            "nul",
            "Con.mp4",
            "x/COM1",
            "1/2/3/4/5/6/7/8/9",
            &long,
        ] {
            assert!(PathName::new(name).is_err(), "{name:?}");
        }
    }
}
