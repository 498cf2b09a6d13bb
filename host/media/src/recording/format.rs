//! The forms that a recording can have.

/// How a segment is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Fragmented MP4.
    #[default]
    Fmp4,
    /// An MPEG transport stream.
    MpegTs,
}

impl Format {
    /// What its files end with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Fmp4 => "mp4",
            Format::MpegTs => "ts",
        }
    }

    /// Takes a file name apart: what its template made, and the form that its ending tells.
    pub fn split(file: &str) -> Option<(&str, Format)> {
        let (name, extension) = file.rsplit_once('.')?;
        let format = [Format::Fmp4, Format::MpegTs]
            .into_iter()
            .find(|format| format.extension() == extension)?;
        Some((name, format))
    }
}
