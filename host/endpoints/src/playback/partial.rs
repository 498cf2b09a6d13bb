//! Which bytes of a file a request is about (RFC 9110 section 14).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request wants of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
    /// To know whether it is still the same. It is.
    Same,
}

impl Wanted {
    /// Of a file of this length and with this tag.
    pub(super) fn of(headers: &HeaderMap, len: u64, tag: &str) -> Wanted {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(header::IF_NONE_MATCH).is_some_and(|known| lists(known, tag)) {
            return Wanted::Same;
        }
        if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
            return Wanted::All;
        }
        // What is not understood, or asks for several ranges, may be answered with everything.
        text(header::RANGE)
            .and_then(|range| parse(range, len))
            .unwrap_or(Wanted::All)
    }
}

fn lists(known: &str, tag: &str) -> bool {
    let mut tags = known.split(',').map(|known| known.trim().trim_start_matches("W/"));
    tags.any(|known| known == tag || known == "*")
}

fn parse(range: &str, len: u64) -> Option<Wanted> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number with more digits than fit is behind the end of any file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let wanted = match (first, last) {
        ("", last) => len.saturating_sub(number(last)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(len)
        }
    };
    Some(if wanted.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Bytes(wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], expected: Wanted) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        assert_eq!(Wanted::of(&map, 100, "\"t\""), expected, "{headers:?}");
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        check(&[], Wanted::All);
        check(&[("range", "bytes=0-")], Wanted::Bytes(0..100));
        check(&[("range", "bytes=10-19")], Wanted::Bytes(10..20));
        check(&[("range", "bytes=90-1000")], Wanted::Bytes(90..100));
        check(&[("range", "bytes=-10")], Wanted::Bytes(90..100));
        check(&[("range", "bytes=-1000")], Wanted::Bytes(0..100));
        check(&[("range", "bytes=99-99")], Wanted::Bytes(99..100));
    }

    #[test]
    fn what_is_behind_the_end_is_nothing() {
        for range in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            check(&[("range", range)], Wanted::Nothing);
        }
    }

    #[test]
    fn what_is_not_understood_is_everything() {
        for range in [
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
            "0-1",
        ] {
            check(&[("range", range)], Wanted::All);
        }
    }

    #[test]
    fn a_range_of_another_file_is_everything() {
        check(&[("range", "bytes=0-1"), ("if-range", "\"t\"")], Wanted::Bytes(0..2));
        check(&[("range", "bytes=0-1"), ("if-range", "\"u\"")], Wanted::All);
        check(
            &[("range", "bytes=0-1"), ("if-range", "Wed, 21 Oct 2015 07:28:00 GMT")],
            Wanted::All,
        );
        check(&[("if-none-match", "\"a\", W/\"t\"")], Wanted::Same);
        check(&[("if-none-match", "\"a\"")], Wanted::All);
    }
}
