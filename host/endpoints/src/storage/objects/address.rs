//! Addresses of object stores, as mediamtx.yml writes them: `s3://bucket/prefix`.

use std::fmt;

use ring::digest;

use crate::storage::name::Name;

/// How all of them begin.
const SCHEME: &str = "s3://";
/// Bytes of a bucket's name. Stores of one's own allow more than Amazon's.
const BUCKET_LEN: usize = 255;

/// A bucket, and the prefix that all names there begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Address {
    pub(super) bucket: String,
    /// Without slashes around it; maybe empty.
    pub(super) prefix: String,
}

impl Address {
    /// Whether a place is in an object store at all.
    pub(in crate::storage) fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    pub(in crate::storage) fn parse(text: &str) -> Result<Address, String> {
        let wrong = |what| Err(format!("{what}: expected s3://bucket/prefix"));
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return wrong("not the address of an object store");
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || bucket.len() > BUCKET_LEN || !bucket.bytes().all(letter) {
            // What stands in its place may be a password: it is not repeated.
            return wrong("no name of a bucket");
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() && Name::new(prefix).is_err() {
            return wrong("no prefix that names can begin with");
        }
        Ok(Address {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// Where in the bucket something is.
    pub(super) fn key(&self, name: &str) -> String {
        match (&*self.prefix, name) {
            (prefix, "") => prefix.to_owned(),
            ("", name) => name.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        }
    }

    /// The name of what has a key.
    pub(super) fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        match &*self.prefix {
            "" => Some(key),
            prefix => key.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// The same for the same address for all time, and a name for a directory.
    pub(super) fn id(&self) -> String {
        short(&self.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match &*self.prefix {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

/// A text of any length as 32 hexadecimal digits.
pub(super) fn short(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_perhaps_a_prefix() {
        let address = Address::parse("s3://my-bucket.1/cameras/all of them/").unwrap();
        assert_eq!(
            (&*address.bucket, &*address.prefix),
            ("my-bucket.1", "cameras/all of them")
        );
        assert_eq!(address.to_string(), "s3://my-bucket.1/cameras/all of them");
        assert_eq!(address.key("a/b"), "cameras/all of them/a/b");
        assert_eq!(address.name("cameras/all of them/a/b"), Some("a/b"));
        assert_eq!(address.name("cameras/all of themselves"), None);
        let bare = Address::parse("s3://bucket").unwrap();
        assert_eq!(bare, Address::parse("s3://bucket/").unwrap());
        assert_eq!(
            (bare.key("a"), bare.key(""), bare.name("a/b")),
            ("a".into(), String::new(), Some("a/b"))
        );
        assert!(bare.id() != address.id() && bare.id().len() == 32);
    }

    #[test]
    fn anything_else_is_refused_and_never_repeated() {
        for text in [
            "",
            "./recordings",
            "s3:",
            "s3://",
            "s3:///prefix",
            "s3://key:secret@bucket",
            "s3://bucket?region=x",
            "s3://bucket/../x",
            "s3://bucket/a//b",
            &format!("s3://{}", "b".repeat(BUCKET_LEN + 1)),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains("expected s3://") && !error.contains("secret"), "{error}");
        }
    }
}
