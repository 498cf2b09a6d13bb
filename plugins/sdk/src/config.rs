//! From the JSON text of `mediamtx.yml` to a plugin's own type, errors with the place they are about.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::Error;

/// Reads a configuration. No text and `null` mean that the operator wrote none, which is an empty map to the plugin.
pub(crate) fn parse<C: DeserializeOwned>(json: &str) -> Result<C, Error> {
    let text = match json.trim() {
        "" | "null" => "{}",
        text => text,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        Error::invalid(pointer, sentence(&error.into_inner()))
    })?;
    reader.end().map_err(|error| Error::invalid("", sentence(&error)))?;
    Ok(config)
}

/// RFC 6901: the way to a value, with `~` and `/` in keys escaped.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let key = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&key);
    }
    pointer
}

/// The message without serde_json's position: lines of the JSON text mean nothing to the author of a YAML file.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoConfig;
    use crate::bindings::imports::wasmtx::plugin::types::ConfigError;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        rooms: Vec<Room>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Room {
        size: u8,
    }

    fn check(json: &str, pointer: &str, message: &str) {
        match parse::<Config>(json) {
            Err(Error::Config(ConfigError {
                pointer: found,
                message: said,
            })) => {
                assert_eq!(found, pointer, "{json}");
                assert!(said.contains(message), "{said:?} should speak of {message:?}");
                assert!(!said.contains("line"), "{said:?} names a line of the JSON text");
            }
            other => panic!("{json} gave {other:?}"),
        }
    }

    #[test]
    fn no_configuration_is_an_empty_map() {
        for json in ["", "  ", "null", "{}"] {
            assert_eq!(parse::<NoConfig>(json).unwrap(), NoConfig {});
            assert_eq!(parse::<Config>(json).unwrap(), Config { rooms: vec![] });
        }
    }

    #[test]
    fn an_error_points_at_the_value() {
        check(r#"{"rooms":[{"size":1},{"size":300}]}"#, "/rooms/1/size", "300");
        check(
            r#"{"rooms":[{"size":1},{"seize":3}]}"#,
            "/rooms/1/seize",
            "unknown field `seize`",
        );
        check(r#"{"rooms":7}"#, "/rooms", "invalid type");
        check(r#"{"a/b~c":7}"#, "/a~1b~0c", "unknown field");
        check("[]  3", "", "trailing");
        check("{", "", "EOF");
    }
}
