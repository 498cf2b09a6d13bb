//! Percent-encoding of URLs (RFC 3986 section 2.1).
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

/// Decodes once; `None` when a `%` is without its two digits or the result is no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut nibble = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (nibble()?, nibble()?);
        out.push(u8::try_from(high.wrapping_mul(16).wrapping_add(low)).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn decodes_once_and_refuses_what_is_broken() {
        assert_eq!(decode("a%20b%2525").as_deref(), Some("a b%25"));
        assert_eq!(decode("%C3%BC").as_deref(), Some("ü"));
        for broken in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(decode(broken), None);
        }
    }
}
