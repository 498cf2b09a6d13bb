//! The parameters of an `a=fmtp` line: `key=value` pairs between semicolons, keys in any case.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use wasmtx_media::nal::MAX_PARAMETER_SET;

/// Cameras leave the padding away or write too much of it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The value of `key`, without surrounding space; the first one wins.
pub(super) fn value<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })
}

/// The number behind `key`.
pub(super) fn number<T: std::str::FromStr>(fmtp: &str, key: &str) -> Option<T> {
    value(fmtp, key)?.parse().ok()
}

/// A parameter set in base64; `None` when it is not base64, empty, or beyond the bound for parameter sets.
pub(super) fn parameter_set(text: &str) -> Option<Bytes> {
    let text = text.trim();
    if text.len() > MAX_PARAMETER_SET.saturating_mul(2) {
        return None;
    }
    let bytes = LENIENT.decode(text.trim_end_matches('=')).ok()?;
    // Some devices leave the start code in.
    let bytes = Bytes::from(bytes);
    let nal = [&[0, 0, 0, 1][..], &[0, 0, 1]]
        .iter()
        .find_map(|code| bytes.strip_prefix(*code))
        .unwrap_or(&bytes);
    (!nal.is_empty() && nal.len() <= MAX_PARAMETER_SET).then(|| bytes.slice_ref(nal))
}

/// Bytes in base64 as SDP wants them.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes in hexadecimal; `None` for an odd length or another character.
pub(super) fn from_hex(text: &str) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text
        .trim()
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() <= MAX_PARAMETER_SET)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}

/// Bytes as lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_any_case_and_spacing() {
        let fmtp = "packetization-mode=1; Sprop-Parameter-Sets=Z0==,aM== ;x=";
        assert_eq!(value(fmtp, "sprop-parameter-sets"), Some("Z0==,aM=="));
        assert_eq!(number::<u8>(fmtp, "packetization-mode"), Some(1));
        assert_eq!(value(fmtp, "x"), Some(""));
        assert_eq!(value(fmtp, "y"), None);
    }

    #[test]
    fn a_parameter_set_may_lack_padding_or_carry_a_start_code() {
        assert_eq!(parameter_set("Z0I").as_deref(), Some(&b"gB"[..]));
        assert_eq!(parameter_set("Z0I=").as_deref(), Some(&b"gB"[..]));
        assert_eq!(parameter_set("AAAAAWdC").as_deref(), Some(&b"gB"[..]));
        assert_eq!(parameter_set("!"), None);
        assert_eq!(parameter_set(""), None);
        assert_eq!(parameter_set(&"A".repeat(8_000)), None);
    }

    #[test]
    fn hexadecimal_converts_both_ways() {
        assert_eq!(
            from_hex("119056E500").as_deref(),
            Some(&[0x11, 0x90, 0x56, 0xe5, 0][..])
        );
        assert_eq!(to_hex(&[0x11, 0x90]), "1190");
        assert_eq!(from_hex("123"), None);
        assert_eq!(from_hex("1g"), None);
    }
}
