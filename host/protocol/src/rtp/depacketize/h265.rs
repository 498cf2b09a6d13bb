//! H.265 (RFC 7798): single NAL units, aggregation packets, fragmentation units. Without decoding order numbers
//! (`sprop-max-don-diff` above 0): nothing sends them.

use bytes::Bytes;
use wasmtx_media::codec::h265::{self, NalType, Parameters};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Codec, Error};

use super::Output;
use super::access_unit::{Assembly, Role};
use crate::rtp::packet::Packet;

const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
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
        let header: [u8; 2] = cursor.array()?;
        match NalType::of(&header).0 {
            0..=47 => self.handle_nal(payload.clone()),
            AGGREGATION => {
                while !cursor.is_empty() {
                    let size = cursor.u16()?.into();
                    let nal = cursor.take(size)?;
                    if nal.len() < 2 {
                        return Err(Error::Truncated);
                    }
                    self.handle_nal(payload.slice_ref(nal))?;
                }
                Ok(())
            }
            FRAGMENTATION => {
                let fragment = cursor.u8()?;
                let nal_header = fragment_header(header, fragment);
                check_type(&nal_header)?;
                if fragment & FU_START != 0 {
                    self.assembly.begin(&nal_header)?;
                }
                self.assembly.extend(cursor.rest())?;
                if fragment & FU_END != 0 {
                    self.handle_fragmented_nal(nal_header);
                }
                Ok(())
            }
            _ => Err(Error::Unsupported("H265 packet type")),
        }
    }

    fn handle_nal(&mut self, nal: Bytes) -> Result<(), Error> {
        check_type(&nal)?;
        match NalType::of(&nal) {
            NalType::AUD => Ok(()),
            NalType::VPS | NalType::SPS | NalType::PPS if self.handle_parameter_set(&nal) => Ok(()),
            _ => self.assembly.push(&nal, role(&nal, self.parameters.has_sub_layers())),
        }
    }

    fn handle_fragmented_nal(&mut self, header: [u8; 2]) {
        let nal = self.assembly.end();
        let (role, length) = (role(nal, self.parameters.has_sub_layers()), nal.len());
        let apart = match NalType::of(&header) {
            NalType::AUD => true,
            NalType::VPS | NalType::SPS | NalType::PPS => {
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

    fn handle_parameter_set(&mut self, nal: &Bytes) -> bool {
        let changed = self.parameters.handle(nal);
        if changed == Some(true) && self.parameters.is_complete() {
            self.assembly.change(Codec::H265(self.parameters.clone()));
        }
        changed.is_some()
    }
}

/// The header of the NAL unit that a fragment is part of: its type comes from the FU header.
fn fragment_header([first, second]: [u8; 2], fragment: u8) -> [u8; 2] {
    [first & 0x81 | (fragment & 0x3f) << 1, second]
}

/// The types from 48 on are of packets: none may be inside another.
fn check_type(nal: &[u8]) -> Result<(), Error> {
    if NalType::of(nal).0 < AGGREGATION {
        Ok(())
    } else {
        Err(Error::Invalid("H265 NAL unit type"))
    }
}

/// With temporal layers a picture that its own layer does not refer to may still be needed by a higher one.
fn role(nal: &[u8], layered: bool) -> Role {
    let kind = NalType::of(nal);
    Role {
        slice: kind.is_slice(),
        key: kind.is_random_access(),
        referenced: kind.is_slice() && (layered || kind.is_referenced()),
    }
}

/// Whether a payload is certainly the first of its access unit (section 7.4.2.4.4 of the standard).
fn starts_access_unit(payload: &[u8]) -> bool {
    let starts = |nal: &[u8]| match NalType::of(nal) {
        NalType::AUD | NalType::VPS | NalType::SPS | NalType::PPS | NalType::PREFIX_SEI => true,
        kind => kind.is_slice() && h265::starts_picture(nal),
    };
    match (NalType::of(payload).0, payload) {
        (AGGREGATION, [_, _, _, _, nal @ ..]) => starts(nal),
        (FRAGMENTATION, [a, b, fragment, first, ..]) => {
            let [c, d] = fragment_header([*a, *b], *fragment);
            fragment & FU_START != 0 && starts(&[c, d, *first])
        }
        _ => starts(payload),
    }
}
