//! AOMedia AV1: OBUs, the sequence header, the av1C record.

use bytes::Bytes;

/// What a decoder must know before the first frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The sequence header OBU with its size field; empty until known.
    pub sequence_header: Bytes,
}

impl Parameters {
    /// The av1C record (AV1 codec ISO media file format binding, section 2.3.3); empty while the header is missing.
    pub fn configuration_record(&self) -> Bytes {
        Bytes::new()
    }

    /// The sequence header, parsed; `None` while unknown.
    pub fn sequence(&self) -> Option<Sequence> {
        None
    }
}

/// What a server needs of a sequence header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level_index: u8,
    /// `seq_tier` of the first operating point.
    pub high_tier: bool,
}
