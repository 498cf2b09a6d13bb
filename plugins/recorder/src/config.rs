//! The `config` of mediamtx.yml, with the names and the defaults of the keys of a path that begin with `record`.

use serde::Deserialize;
use wasmtx_media::recording::{Format, Template};
use wasmtx_plugin::Error;

use crate::record::Settings;

/// The units of a time, in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
];
/// A day of parts is no bound any more; shorter ones than this are a commit for each frame. Microseconds.
const PART: (i64, i64) = (20_000, 86_400_000_000);
/// A century.
const LONGEST: f64 = 3.2e18;

/// What an operator may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Config {
    path: String,
    format: String,
    part_duration: String,
    max_part_size: u64,
    segment_duration: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "%path/%Y-%m-%d_%H-%M-%S-%f".into(),
            format: "fmp4".into(),
            part_duration: "1s".into(),
            max_part_size: 50 << 20,
            segment_duration: "1h".into(),
        }
    }
}

impl Config {
    /// Checks it all.
    pub(crate) fn settings(self) -> Result<Settings, Error> {
        let template = Template::parse(&self.path).map_err(|error| Error::invalid("/path", error.to_string()))?;
        let format = match self.format.as_str() {
            "fmp4" => Format::Fmp4,
            "mpegts" => Format::MpegTs,
            _ => return Err(Error::invalid("/format", "must be fmp4 or mpegts")),
        };
        let part = duration("/partDuration", &self.part_duration)?;
        if !(PART.0..=PART.1).contains(&part) {
            return Err(Error::invalid("/partDuration", "must be 20ms to 24h"));
        }
        if self.max_part_size == 0 {
            return Err(Error::invalid("/maxPartSize", "must be at least 1"));
        }
        let segment = duration("/segmentDuration", &self.segment_duration)?;
        if segment <= 0 {
            return Err(Error::invalid("/segmentDuration", "must be greater than 0"));
        }
        Ok(Settings {
            template,
            format,
            part,
            part_bytes: usize::try_from(self.max_part_size).unwrap_or(usize::MAX),
            segment,
        })
    }
}

/// Microseconds of a time as it stands in mediamtx.yml: `1h30m`, `200ms`, `1.5s`.
fn duration(pointer: &str, text: &str) -> Result<i64, Error> {
    let wrong = || Error::invalid(pointer, "must be a time like 1s, 200ms or 1h30m");
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let end = behind
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total += number.parse::<f64>().map_err(|_| wrong())? * scale;
        rest = next;
    }
    if text.is_empty() || total > LONGEST {
        return Err(wrong());
    }
    Ok((total / 1e3) as i64)
}
