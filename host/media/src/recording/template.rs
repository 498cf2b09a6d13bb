//! The grammar of `recordPath`, below its directory.
//!
//! ```text
//! %path  the path's name            %Y %m %d %H %M %S  local time: year of 4 digits, the rest of 2
//! %s     seconds since 1970         %f                 microseconds, 6 digits
//! %z     offset: Z or ±hhmm         anything else stands for itself
//! ```
//!
//! It is MediaMTX's, whose recordings must be found, with less tolerance when names are read: the whole name has to
//! match, a field that stands twice has to say the same twice, and there is no 30th of February. What is listed can be
//! deleted, so a name that would never be written is not one.
//!
//! Names without `%z` and `%s` hold local time only. When clocks are set back, an hour has every name twice; it is read
//! with the offset that holds at the same digits of UTC, if that is one of the two (the earlier moment west of Greenwich, the
//! later one east of it). A time that clocks skip is read with the offset of one of its sides.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::fmt::Write;

use super::civil::{self, Civil};

/// Bytes of a template.
const MAX_LENGTH: usize = 1_024;
/// The clock of no place on Earth is further from Greenwich's.
const MAX_OFFSET: i32 = 86_399;
/// What a directory in an object store begins with.
const OBJECTS: &str = "s3://";

const FIELDS: [(&str, Field); 10] = [
    ("%path", Field::Path),
    ("%Y", Field::Year),
    ("%m", Field::Month),
    ("%d", Field::Day),
    ("%H", Field::Hour),
    ("%M", Field::Minute),
    ("%S", Field::Second),
    ("%f", Field::Micros),
    ("%z", Field::Zone),
    ("%s", Field::Seconds),
];
const DATED: [Field; 6] = [
    Field::Year,
    Field::Month,
    Field::Day,
    Field::Hour,
    Field::Minute,
    Field::Second,
];

/// How the files of recordings are called, without their extension and below their directory ([`Template::split`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// Why a text is no template. The message goes behind the name of what was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(&'static str);

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// The path's name. That it is one is not checked.
    pub path: &'a str,
    /// Microseconds since 1970.
    pub start: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Path,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Micros,
    Zone,
    Seconds,
}

impl Template {
    /// Reads a template, without the directory in front of it.
    ///
    /// # Errors
    /// It does not tell paths and times apart, or could lead out of the directory.
    pub fn parse(text: &str) -> Result<Template, InvalidTemplate> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidTemplate("it is longer than 1,024 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidTemplate("it has a control character in it"));
        }
        if text.split('/').any(|segment| segment == "..") {
            return Err(InvalidTemplate("`..` may stand in front of the first variable only"));
        }
        let segments: Vec<&str> = text
            .split('/')
            .filter(|segment| !matches!(*segment, "" | "."))
            .collect();
        let template = Template {
            pieces: pieces(&segments.join("/")),
        };
        if !template.has(Field::Path) {
            return Err(InvalidTemplate("it must contain %path"));
        }
        if !template.has(Field::Seconds) && !DATED.iter().all(|field| template.has(*field)) {
            return Err(InvalidTemplate("it must contain %s or all of %Y %m %d %H %M %S"));
        }
        Ok(template)
    }

    /// Splits a whole `recordPath`: the directory (every segment in front of the first one with a `%`; empty: the
    /// working directory) and the template below it. `s3://` and the bucket belong to the directory; a bucket with a
    /// variable leaves `s3://` alone.
    pub fn split(text: &str) -> (&str, &str) {
        let scheme = if text.starts_with(OBJECTS) { OBJECTS.len() } else { 0 };
        let variable = text.find('%').unwrap_or(text.len()).max(scheme);
        let (fixed, _) = text.split_at_checked(variable).unwrap_or((text, ""));
        let Some(slash) = fixed.rfind('/') else {
            return ("", text);
        };
        let rest = text.get(slash + 1..).unwrap_or_default();
        // The slash of the root, or of `s3://`, is no separator.
        let end = if slash == 0 || slash + 1 == scheme {
            slash + 1
        } else {
            slash
        };
        (text.get(..end).unwrap_or_default(), rest)
    }

    /// Whether names are told apart by more than seconds.
    pub fn has_micros(&self) -> bool {
        self.has(Field::Micros)
    }

    /// The name of the segment of a path that starts at a time (microseconds since 1970), where clocks are that many
    /// seconds ahead of UTC. Whatever the path is called, the name stays below the directory: segments that lead
    /// elsewhere are spelled with `_`.
    ///
    /// Names come back ([`Template::matches`]) until the year 9999, and with `%s` until 2286.
    pub fn expand(&self, path: &str, time: u64, offset: i32) -> String {
        let mut offset = offset.clamp(-MAX_OFFSET, MAX_OFFSET);
        if self.has(Field::Zone) {
            offset -= offset % 60;
        }
        let (seconds, micros) = civil::split(time);
        let local = Civil::from_seconds(seconds.saturating_add(offset.into()));
        let mut name = String::new();
        for piece in &self.pieces {
            let field = match piece {
                Piece::Text(text) => {
                    name.push_str(text);
                    continue;
                }
                Piece::Field(field) => field,
            };
            // Writing into a text cannot fail.
            let _ = match field {
                Field::Path => write!(name, "{path}"),
                Field::Year => write!(name, "{:04}", local.year),
                Field::Month => write!(name, "{:02}", local.month),
                Field::Day => write!(name, "{:02}", local.day),
                Field::Hour => write!(name, "{:02}", local.hour),
                Field::Minute => write!(name, "{:02}", local.minute),
                Field::Second => write!(name, "{:02}", local.second),
                Field::Micros => write!(name, "{micros:06}"),
                Field::Zone if offset == 0 => write!(name, "Z"),
                Field::Zone => {
                    let sign = if offset < 0 { '-' } else { '+' };
                    let minutes = offset.unsigned_abs() / 60;
                    write!(name, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
                }
                Field::Seconds => write!(name, "{seconds:010}"),
            };
        }
        confined(name)
    }

    /// Reads a name without its extension: of this path, or of any (the shortest that fits). `offset` tells how many
    /// seconds clocks were ahead of UTC at a time (microseconds since 1970); it is asked when the name does not say it.
    pub fn matches<'a>(&self, name: &'a str, path: Option<&'a str>, offset: impl Fn(u64) -> i32) -> Option<Match<'a>> {
        let fields = Fields {
            path,
            ..Fields::default()
        };
        let fields = read(&self.pieces, name, fields)?;
        Some(Match {
            path: fields.path?,
            start: fields.start(offset)?,
        })
    }

    /// The directory that holds all files of a path, as far as it is known without a time; empty, or ending in `/`.
    pub fn folder(&self, path: &str) -> String {
        let mut folder = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => folder.push_str(text),
                Piece::Field(Field::Path) => folder.push_str(path),
                Piece::Field(_) => break,
            }
        }
        let slash = folder.rfind('/').map_or(0, |slash| slash + 1);
        folder.truncate(slash);
        folder
    }

    /// How many directories below the directory lead to the files of a path.
    pub fn depth(&self, path: &str) -> usize {
        let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
        let of_piece = |piece: &Piece| match piece {
            Piece::Text(text) => slashes(text),
            Piece::Field(Field::Path) => slashes(path),
            Piece::Field(_) => 0,
        };
        self.pieces.iter().map(of_piece).sum()
    }

    fn has(&self, wanted: Field) -> bool {
        let found = |piece: &Piece| matches!(piece, Piece::Field(field) if *field == wanted);
        self.pieces.iter().any(found)
    }
}

fn pieces(mut text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    while let Some(first) = text.chars().next() {
        let field = FIELDS.iter().find(|(spelling, _)| text.starts_with(spelling));
        let length = match field {
            Some((spelling, field)) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Field(*field));
                spelling.len()
            }
            None => {
                literal.push(first);
                first.len_utf8()
            }
        };
        text = text.get(length..).unwrap_or_default();
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// A name none of whose segments leads anywhere but down.
fn confined(name: String) -> String {
    let strange = |segment: &str| matches!(segment, "" | "." | "..");
    if !name.split('/').any(strange) && !name.chars().any(char::is_control) {
        return name;
    }
    let segments: Vec<String> = name
        .split('/')
        .map(|segment| match segment {
            "" => "_".to_owned(),
            "." | ".." => "_".repeat(segment.len()),
            segment => segment.replace(char::is_control, "_"),
        })
        .collect();
    segments.join("/")
}

/// What has been read of a name.
#[derive(Clone, Copy, Default)]
struct Fields<'a> {
    path: Option<&'a str>,
    year: Option<u64>,
    month: Option<u64>,
    day: Option<u64>,
    hour: Option<u64>,
    minute: Option<u64>,
    second: Option<u64>,
    micros: Option<u64>,
    seconds: Option<u64>,
    /// Seconds ahead of UTC.
    zone: Option<i64>,
}

/// Reads the rest of a name; only the first `%path` has a choice, so there is no more to try than a name is long.
fn read<'a>(pieces: &[Piece], name: &'a str, mut fields: Fields<'a>) -> Option<Fields<'a>> {
    let Some((piece, rest)) = pieces.split_first() else {
        return name.is_empty().then_some(fields);
    };
    let field = match piece {
        Piece::Text(text) => return read(rest, name.strip_prefix(text.as_str())?, fields),
        Piece::Field(field) => field,
    };
    let after = match (field, fields.path) {
        (Field::Path, Some(path)) => name.strip_prefix(path)?,
        (Field::Path, None) => {
            let ends = name.char_indices().map(|(at, char)| at + char.len_utf8());
            return ends.into_iter().find_map(|end| {
                let (path, after) = name.split_at_checked(end)?;
                let fields = Fields {
                    path: Some(path),
                    ..fields
                };
                read(rest, after, fields)
            });
        }
        (Field::Zone, _) => {
            let (zone, after) = zone(name)?;
            agree(&mut fields.zone, zone)?;
            after
        }
        (Field::Year, _) => number(name, 4, &mut fields.year)?,
        (Field::Month, _) => number(name, 2, &mut fields.month)?,
        (Field::Day, _) => number(name, 2, &mut fields.day)?,
        (Field::Hour, _) => number(name, 2, &mut fields.hour)?,
        (Field::Minute, _) => number(name, 2, &mut fields.minute)?,
        (Field::Second, _) => number(name, 2, &mut fields.second)?,
        (Field::Micros, _) => number(name, 6, &mut fields.micros)?,
        (Field::Seconds, _) => number(name, 10, &mut fields.seconds)?,
    };
    read(rest, after, fields)
}

/// Reads a number of so many digits, which is the one that stood there before, if one did.
fn number<'a>(name: &'a str, digits: usize, field: &mut Option<u64>) -> Option<&'a str> {
    let (number, after) = name.split_at_checked(digits)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    agree(field, number.parse().ok()?)?;
    Some(after)
}

fn agree<T: PartialEq + Copy>(field: &mut Option<T>, value: T) -> Option<()> {
    (*field.get_or_insert(value) == value).then_some(())
}

fn zone(name: &str) -> Option<(i64, &str)> {
    if let Some(after) = name.strip_prefix('Z') {
        return Some((0, after));
    }
    let (sign, digits) = match name.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, name.strip_prefix('+')?),
    };
    let (mut hours, mut minutes) = (None, None);
    let after = number(number(digits, 2, &mut hours)?, 2, &mut minutes)?;
    let minutes = minutes.filter(|minutes| *minutes < 60)?;
    let seconds = i64::try_from(hours? * 3_600 + minutes * 60).ok()?;
    Some((sign * seconds, after))
}

impl Fields<'_> {
    fn start(&self, offset: impl Fn(u64) -> i32) -> Option<u64> {
        let micros = self.micros.unwrap_or(0);
        if let Some(seconds) = self.seconds {
            return civil::join(i64::try_from(seconds).ok()?, micros);
        }
        let civil = Civil {
            year: self.year?.try_into().ok()?,
            month: self.month?.try_into().ok()?,
            day: self.day?.try_into().ok()?,
            hour: self.hour?.try_into().ok()?,
            minute: self.minute?.try_into().ok()?,
            second: self.second?.try_into().ok()?,
        };
        let local = civil.seconds()?;
        let seconds = match self.zone {
            Some(zone) => local.checked_sub(zone)?,
            None => utc(local, |seconds| {
                offset(civil::join(seconds.max(0), 0).unwrap_or(0)).into()
            })?,
        };
        civil::join(seconds, micros)
    }
}

/// The moment at which clocks show a local time, both in seconds.
fn utc(local: i64, offset: impl Fn(i64) -> i64) -> Option<i64> {
    let near = offset(local);
    let guess = local.checked_sub(near)?;
    local.checked_sub(offset(guess))
}
