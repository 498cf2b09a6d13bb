//! Days, hours and minutes of a moment: the Gregorian calendar counted from 1970-01-01, as plain arithmetic.
//!
//! Years are counted from March, so that the odd day is the last one of a year; 400 years are 146,097 days.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
const MICROS: u64 = 1_000_000;

/// A moment as a wall clock shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

impl Civil {
    /// What a clock shows that many seconds after (before) 1970, by itself.
    pub(super) fn from_seconds(seconds: i64) -> Civil {
        let (days, rest) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        let days = days.saturating_add(DAYS_TO_1970);
        let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Seconds since 1970 that make a clock show this; none for what no clock shows, like a 30th of February.
    pub(super) fn seconds(&self) -> Option<i64> {
        let year = self.year.checked_sub(i64::from(self.month <= 2))?;
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = self.month.checked_add(9)?.rem_euclid(12);
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day.checked_sub(1)?;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era
            .checked_mul(DAYS_PER_ERA)?
            .checked_add(day_of_era)?
            .checked_sub(DAYS_TO_1970)?;
        let time = self.hour * 3_600 + self.minute * 60 + self.second;
        let seconds = days.checked_mul(SECONDS_PER_DAY)?.checked_add(time)?;
        (Civil::from_seconds(seconds) == *self).then_some(seconds)
    }
}

/// Whole seconds of a time in microseconds, and the microseconds beyond.
pub(super) fn split(time: u64) -> (i64, u64) {
    (i64::try_from(time / MICROS).unwrap_or(i64::MAX), time % MICROS)
}

/// Microseconds since 1970; none before it.
pub(super) fn join(seconds: i64, micros: u64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(MICROS)?.checked_add(micros)
}
