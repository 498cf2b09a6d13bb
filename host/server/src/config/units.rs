//! Durations and sizes: how they are spelled in the file, and how the API shows them.

use super::{
    node::Node,
    schema::{Reader, Value, describe},
    value::text,
};
use serde_json::Value as Json;
use std::{fmt, str::FromStr, time::Duration};

const DAY: u64 = 86_400;
const KIBI: u64 = 1024;

impl Value for Duration {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node).map(parse_duration) {
            Some(Some(value)) => Some(value),
            Some(None) => {
                let seconds = text(node).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let suggestion = seconds.map(|seconds| format!("{seconds}s"));
                let message = format!("expected a duration such as 10s or 1d12h, found {}", describe(node));
                reader.suggest(&node.origin, message, suggestion);
                None
            }
            None => reader.expected(node, "a duration such as 10s or 1d12h"),
        }
    }

    fn json(&self) -> Json {
        Json::from(format_duration(*self))
    }
}

/// `1d2h3m4.5s`, units from days to nanoseconds; empty or a bare zero is zero.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text.is_empty() || text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => DAY * 1_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scale(number, nanos)?)?;
        rest = tail;
    }
    // What nanoseconds in 64 bits can hold, as in other programs that read this file: some 292 years.
    (total.as_nanos() <= u128::from(u64::MAX / 2)).then_some(total)
}

/// A decimal number of units that are `nanos` long.
fn scale(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(nanos)?;
    let mut unit = nanos;
    for digit in fraction.chars() {
        unit /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?).checked_mul(unit)?)?;
    }
    Some(Duration::from_nanos(total))
}

/// As MediaMTX's API shows it: days first, then `1h0m0s`, `10s`, `200ms`; zero is empty.
pub(crate) fn format_duration(duration: Duration) -> String {
    let (days, seconds) = (duration.as_secs() / DAY, duration.as_secs() % DAY);
    let nanos = duration.subsec_nanos();
    let mut shown = if days > 0 { format!("{days}d") } else { String::new() };
    if seconds == 0 && nanos > 0 {
        let (unit, name) = match nanos {
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "µs"),
            _ => (1, "ns"),
        };
        shown += &decimal(u64::from(nanos / unit), nanos % unit, unit);
        shown += name;
    } else if seconds > 0 {
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            shown += &format!("{hours}h");
        }
        if hours > 0 || minutes > 0 {
            shown += &format!("{minutes}m");
        }
        shown += &decimal(seconds % 60, nanos, 1_000_000_000);
        shown.push('s');
    }
    shown
}

/// `whole` and `part` of `unit`, without trailing zeros.
fn decimal(whole: u64, part: u32, unit: u32) -> String {
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{part:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// A number of bytes: `50M`, `64K`, `1.5G`; the units are powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// So many mebibytes.
    pub(crate) const fn mebi(n: u64) -> Size {
        Size(n * KIBI * KIBI)
    }

    /// So many kibibytes.
    pub(crate) const fn kibi(n: u64) -> Size {
        Size(n * KIBI)
    }

    /// As a length; what does not fit is the longest there is.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Size, ()> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let power = match unit.to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 1,
            "M" | "MB" | "MIB" => 2,
            "G" | "GB" | "GIB" => 3,
            "T" | "TB" | "TIB" => 4,
            _ => return Err(()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let unit = KIBI.pow(power);
        let bytes = whole
            .parse::<u64>()
            .ok()
            .and_then(|whole| whole.checked_mul(unit))
            .ok_or(())?;
        if number.contains('.') && (fraction.is_empty() || fraction.len() > 9) {
            return Err(());
        }
        let part = if fraction.is_empty() {
            0
        } else {
            fraction.parse::<u64>().map_err(|_| ())?
        };
        let parts = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| ())?);
        let extra = u64::try_from(u128::from(part) * u128::from(unit) / parts).map_err(|_| ())?;
        bytes.checked_add(extra).map(Size).ok_or(())
    }
}

impl fmt::Display for Size {
    /// The shortest form that says the same number: `50M`, `1.5K`, `1001B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (power, name) in [(4, "T"), (3, "G"), (2, "M"), (1, "K")] {
            let unit = KIBI.pow(power);
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
            if self.0 >= unit && (self.0 % unit).saturating_mul(2) == unit {
                return write!(f, "{}.5{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Value for Size {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node).map(str::parse) {
            Some(Ok(size)) => Some(size),
            _ => reader.expected(node, "a size such as 50M"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }
}
