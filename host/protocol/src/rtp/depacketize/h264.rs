//! H.264 (RFC 6184): single NAL units, STAP-A, FU-A. The interleaved mode (STAP-B, MTAP, FU-B) is refused: nothing sends it.

use bytes::Bytes;
use wasmtx_media::codec::h264::{self, NalType, Parameters};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Codec, Error};

use super::Output;
use super::access_unit::{Assembly, Role};
use crate::rtp::packet::Packet;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

#[derive(Debug)]
pub(super) struct Depacketizer {
    parameters: Parameters,
    assembly: Assembly,
}

impl Depacketizer {
    pub(super) fn new(parameters: Parameters) -> Depacketizer {
        Depacketizer {
            parameters,
            assembly: Assembly::default(),
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.assembly.is_pending()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        self.assembly
            .handle_packet(packet, lost, starts_access_unit(&packet.payload), out);
        let result = self.handle_payload(&packet.payload);
        if result.is_err() {
            self.assembly.damage();
        }
        if packet.header.marker {
            self.assembly.handle_marker(out);
        }
        result
    }

    fn handle_payload(&mut self, payload: &Bytes) -> Result<(), Error> {
        let mut cursor = Cursor::new(payload);
        let header = cursor.u8()?;
        match header & 0x1f {
            1..=23 => self.handle_nal(payload.clone()),
            STAP_A => {
                while !cursor.is_empty() {
                    let size = cursor.u16()?.into();
                    let nal = cursor.take(size)?;
                    // Some encoders pad with empty entries.
                    if !nal.is_empty() {
                        self.handle_nal(payload.slice_ref(nal))?;
                    }
                }
                Ok(())
            }
            FU_A => {
                let fragment = cursor.u8()?;
                let nal_header = header & 0xe0 | fragment & 0x1f;
                check_type(nal_header)?;
                if fragment & FU_START != 0 {
                    self.assembly.begin(&[nal_header])?;
                }
                self.assembly.extend(cursor.rest())?;
                if fragment & FU_END != 0 {
                    self.handle_fragmented_nal(nal_header);
                }
                Ok(())
            }
            _ => Err(Error::Unsupported("H264 packet type")),
        }
    }

    fn handle_nal(&mut self, nal: Bytes) -> Result<(), Error> {
        check_type(nal.first().copied().unwrap_or_default())?;
        match NalType::of(&nal) {
            NalType::AUD => Ok(()),
            NalType::SPS | NalType::PPS if self.handle_parameter_set(&nal) => Ok(()),
            _ => self.assembly.push(&nal, role(&nal)),
        }
    }

    /// Parameter sets and delimiters are small, but nothing forbids to send them in fragments.
    fn handle_fragmented_nal(&mut self, header: u8) {
        let nal = self.assembly.end();
        let (role, length) = (role(nal), nal.len());
        let apart = match NalType(header & 0x1f) {
            NalType::AUD => true,
            NalType::SPS | NalType::PPS => {
                let nal = Bytes::copy_from_slice(nal);
                self.handle_parameter_set(&nal)
            }
            _ => false,
        };
        if apart {
            self.assembly.remove_last(length);
        } else {
            self.assembly.note(role);
        }
    }

    /// Returns whether it was one to keep out of the payload.
    fn handle_parameter_set(&mut self, nal: &Bytes) -> bool {
        let changed = self.parameters.handle(nal);
        if changed == Some(true) && self.parameters.is_complete() {
            self.assembly.change(Codec::H264(self.parameters.clone()));
        }
        changed.is_some()
    }
}

/// The types above 23 are of packets: none may be inside another.
fn check_type(header: u8) -> Result<(), Error> {
    if (1..=23).contains(&(header & 0x1f)) {
        Ok(())
    } else {
        Err(Error::Invalid("H264 NAL unit type"))
    }
}

fn role(nal: &[u8]) -> Role {
    let kind = NalType::of(nal);
    Role {
        slice: kind.is_slice(),
        key: kind == NalType::IDR || kind == NalType::SEI && h264::has_recovery_point(nal),
        referenced: kind.is_slice() && nal.first().is_some_and(|header| header & 0x60 != 0),
    }
}

/// Whether a payload is certainly the first of its access unit: what may come before a picture (section 7.4.1.2.3 of the
/// standard), or the first slice.
fn starts_access_unit(payload: &[u8]) -> bool {
    let starts = |nal: &[u8]| match NalType::of(nal) {
        NalType::AUD | NalType::SPS | NalType::PPS | NalType::SEI => true,
        kind => kind.is_slice() && h264::starts_picture(nal),
    };
    match payload {
        [header, rest @ ..] if header & 0x1f == STAP_A => rest.get(2..).is_some_and(starts),
        [header, fragment, first, ..] if header & 0x1f == FU_A => {
            fragment & FU_START != 0 && starts(&[header & 0xe0 | fragment & 0x1f, *first])
        }
        nal => starts(nal),
    }
}
