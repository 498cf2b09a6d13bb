//! Paths as an operator names them.

use regex_lite::Regex;
use serde::de::{Deserialize, Deserializer, Error};

/// Which paths a rule is about, as the `path` of a permission in `mediamtx.yml`: an empty text for every path, a path's name for that one, a regular
/// expression behind a `~` for all in which it finds something (`~^cam[0-9]+$`). Reads from a text in a configuration; an expression that is none is
/// an error with its file and line.
///
/// ```
/// use wasmtx_plugin::Pattern;
///
/// let cameras: Pattern = "~^cam[0-9]+$".parse().unwrap();
/// assert!(cameras.matches("cam7") && !cameras.matches("webcam7"));
/// ```
#[derive(Debug, Clone)]
pub struct Pattern(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Every,
    One(String),
    Some(Regex),
}

impl Pattern {
    /// Does it mean this path?
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            Kind::Every => true,
            Kind::One(name) => name == path,
            Kind::Some(expression) => expression.is_match(path),
        }
    }
}

/// Every path.
impl Default for Pattern {
    fn default() -> Self {
        Self(Kind::Every)
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text.strip_prefix('~') {
            Some(expression) => Kind::Some(
                Regex::new(expression).map_err(|error| format!("`{expression}` is no regular expression: {error}"))?,
            ),
            None if text.is_empty() => Kind::Every,
            None => Kind::One(text.to_owned()),
        }))
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        let pattern: Pattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(path), expected, "{pattern:?} and {path}");
    }

    #[test]
    fn a_name_means_one_path_and_nothing_means_all() {
        check("", "cam1", true);
        check("", "", true);
        check("cam1", "cam1", true);
        check("cam1", "cam11", false);
        check("cam.", "cam1", false);
    }

    #[test]
    fn an_expression_means_what_it_finds_something_in() {
        check("~cam", "lobby/webcam1", true);
        check("~^cam", "lobby/webcam1", false);
        check("~^lobby/(left|right)$", "lobby/left", true);
        check("~", "anything", true);
    }

    #[test]
    fn what_is_no_expression_is_refused_in_words() {
        let error = serde_json::from_str::<Pattern>(r#""~(""#).unwrap_err().to_string();
        assert!(error.contains("`(` is no regular expression"), "{error}");
        // Not a matter of hours.
        assert!("~((a{1000}){1000}){1000}".parse::<Pattern>().is_err());
    }
}
