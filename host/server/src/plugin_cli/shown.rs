//! Figures as people read them.

use std::time::Duration;

/// `15,234`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `912 B`, `14.9 KiB`, `1.1 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
    let in_units = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", in_units(1 << 10)),
        _ => format!("{:.1} MiB", in_units(1 << 20)),
    }
}

/// `146 ns`, `2.5 µs`, `19 ms`, `1.2 s`.
pub(super) fn time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let seconds = time.as_secs_f64();
    let scaled = |value: f64, unit: &str| {
        if value < 10.0 {
            format!("{value:.1} {unit}")
        } else {
            format!("{value:.0} {unit}")
        }
    };
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => scaled(seconds * 1e6, "µs"),
        1_000_000..1_000_000_000 => scaled(seconds * 1e3, "ms"),
        _ => scaled(seconds, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(count).each_ref().map(|s| &**s)
        );
        assert_eq!(
            ["912 B", "14.9 KiB", "1.1 MiB"],
            [912, 15_234, 1_114_112].map(bytes).each_ref().map(|s| &**s)
        );
        let times = [146, 2_500, 19_400_000, 1_200_000_000].map(|nanos| time(Duration::from_nanos(nanos)));
        assert_eq!(times, ["146 ns", "2.5 µs", "19 ms", "1.2 s"]);
    }
}
