//! The parameters of a request.

use url::form_urlencoded;

use super::{Error, range::Range};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;
/// No recording is from later: nanoseconds since 1970 at the beginning of 2200.
const LAST: i64 = 7_258_118_400 * SECOND;
/// The longest range, ten years.
const LONGEST: i64 = 3_653 * 86_400 * SECOND;

/// What is behind the question mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn new(query: &'a str) -> Query<'a> {
        Query(query)
    }

    /// The first value of a parameter; what is empty counts as not given.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        let found = pairs.find(|(key, _)| key == name)?;
        Some(found.1.into_owned()).filter(|value| !value.is_empty())
    }

    /// A moment, nanoseconds since 1970.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        time(&text).map(Some).map_err(|why| Error::Parameter(name, why))
    }

    /// `start` and `duration`, which must be there.
    pub(super) fn range(&self) -> Result<Range, Error> {
        let start = self.time("start")?.ok_or_else(|| missing("start"))?;
        let text = self.get("duration").ok_or_else(|| missing("duration"))?;
        let duration = duration(&text).map_err(|why| Error::Parameter("duration", why))?;
        Ok(Range::new(start, duration))
    }

    /// The parameters that prove who asks, as they go into the links of a playlist.
    pub(super) fn proof(&self) -> String {
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(self.0.as_bytes()) {
            if !matches!(&*key, "path" | "start" | "duration" | "format") {
                kept.append_pair(&key, &value);
            }
        }
        kept.finish()
    }
}

fn missing(name: &'static str) -> Error {
    Error::Parameter(name, "missing".to_owned())
}

/// Reads RFC 3339: nanoseconds since 1970.
pub(super) fn time(text: &str) -> Result<i64, String> {
    // A plus sign that nobody escaped is a space in a query.
    let text = text.replace(' ', "+");
    if !is_rfc_3339(text.as_bytes()) {
        return Err(format!("'{}' is not a time as in RFC 3339", shown(&text)));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("'{}' is no time", shown(&text)))?;
    let nanoseconds = i64::try_from(time.as_nanosecond()).ok();
    let fits = nanoseconds.filter(|time| (0..LAST).contains(time));
    fits.ok_or_else(|| format!("'{}' is not within 1970 and 2199", shown(&text)))
}

/// `2024-11-22T15:33:33.120000Z`, with any fraction or none, and an offset in place of the Z.
fn is_rfc_3339(text: &[u8]) -> bool {
    let matches = |text: &[u8], form: &[u8]| {
        let fits = |(byte, form): (&u8, &u8)| {
            if *form == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == form
            }
        };
        text.len() == form.len() && text.iter().zip(form).all(fits)
    };
    let Some((moment, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = rest.get(fraction..).unwrap_or_default();
    let zone = matches(zone, b"Z") || matches(zone, b"+00:00") || matches(zone, b"-00:00");
    matches(moment, b"0000-00-00T00:00:00") && fraction != 1 && zone
}

/// Seconds, or as Go writes durations: nanoseconds.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "'{}' is neither a number of seconds nor a duration like 1m30s",
            shown(text)
        )
    };
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let seconds = match text.parse::<f64>() {
        Ok(seconds) if is_number => seconds,
        // Of other numbers: infinity, and none at all.
        Ok(_) => return Err(wrong()),
        Err(_) => go(text).ok_or_else(wrong)?,
    };
    // A float holds a day to a nanosecond, and what it does not hold is cut off, as MediaMTX does.
    let nanoseconds = seconds * SECOND as f64;
    if !(1.0..=LONGEST as f64).contains(&nanoseconds) {
        return Err(format!("'{}' is not between a nanosecond and ten years", shown(text)));
    }
    Ok(nanoseconds as i64)
}

/// Go's form: numbers with units, one behind the other. Seconds.
fn go(text: &str) -> Option<f64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, behind) = rest.split_at(number);
        let unit = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let factor = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    let is_there = !text.trim_start_matches(['+', '-']).is_empty();
    is_there.then_some(if negative { -seconds } else { seconds })
}

/// As much of what a client sent as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A moment for people and players, in the server's zone: RFC 3339 with as many digits as it needs.
pub(super) fn spell(nanoseconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_nanosecond(nanoseconds.into()) else {
        return String::new();
    };
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    if zoned.offset().is_zero() {
        time.to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        let check = |text: &str, expected: i64| assert_eq!(time(text), Ok(expected), "{text}");
        check("1970-01-01T00:00:00Z", 0);
        check("2024-11-22T15:33:33.12Z", 1_732_289_613_120_000_000);
        check("2024-11-22T16:33:33.120000+01:00", 1_732_289_613_120_000_000);
        check("2024-11-22T16:33:33.120000 01:00", 1_732_289_613_120_000_000);
        check("2024-11-22T10:03:33.000000001-05:30", 1_732_289_613_000_000_001);
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for text in [
            "now",
            "2024-11-22",
            "2024-11-22 15:33:33Z",
            "2024-11-22T15:33:33",
            "2024-11-22T15:33:33.Z",
            "2024-13-22T15:33:33Z",
            "2024-11-22T25:33:33Z",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
            "0000-00-00T00:00:00Z",
            "2024-11-22T15:33:33+99:99",
            "2024-11-22T15:33:33Z[Europe/Rome]",
            "",
            "１９７０-01-01T00:00:00Z",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_what_go_writes() {
        let check = |text: &str, expected: i64| assert_eq!(duration(text), Ok(expected), "{text}");
        check("1", SECOND);
        check("64.5", 64_500_000_000);
        check("1e3", 1_000 * SECOND);
        check("0.000001", 1_000);
        check("1h2m3.5s", 3_723_500_000_000);
        check("300ms", 300_000_000);
        check("2µs", 2_000);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_reason() {
        for text in [
            "", "x", "nan", "NaN", "inf", "-inf", "infinity", "0", "0s", "-1", "-1s", "1e300", "1e12", "4000000h",
            "1x", "s", "1", "1h-2m", "+", "-", "1..2s", "0x10", "1_000",
        ] {
            assert!(text == "1" || duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_value_counts_and_an_empty_one_is_none() {
        let query = Query::new("path=a%2Fb&path=c&start=&x=1+2");
        assert_eq!(query.get("path").as_deref(), Some("a/b"));
        assert_eq!(query.get("start"), None);
        assert_eq!(query.get("x").as_deref(), Some("1 2"));
        assert!(matches!(query.range(), Err(Error::Parameter("start", _))));
    }

    #[test]
    fn what_proves_who_asks_goes_into_the_links() {
        let query = Query::new("path=x&start=a&duration=b&jwt=x%26y&user=");
        assert_eq!(query.proof(), "jwt=x%26y&user=");
    }
}
