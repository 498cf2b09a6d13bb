//! What a side of a connection says about itself in `connect` and its answer (Enhanced RTMP v2, "Enhancing
//! NetConnection connect Command").
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use super::amf0::Value;

/// A list with more entries than this is read no further.
const MAX_FOUR_CCS: usize = 64;
/// Stands for every codec.
const ANY: &str = "*";

/// Of a `FourCcInfoMask`: we pass a codec on, and neither decode nor encode it.
const CAN_FORWARD: f64 = 4.0;
const MULTITRACK: u32 = 2;
const MOD_EX: u32 = 4;

/// The codecs and extensions of one side. Empty for those who speak classic RTMP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The FourCCs of `fourCcList`, `videoFourCcInfoMap` and `audioFourCcInfoMap`; `*` stands for all.
    pub four_ccs: Vec<String>,
    /// The bits of `capsEx`: 1 reconnect, 2 multitrack, 4 ModEx, 8 nanosecond offsets.
    pub extensions: u32,
}

impl Capabilities {
    /// What this program does with a stream: it passes on every codec, several tracks, and ModEx.
    pub fn ours() -> Capabilities {
        Capabilities {
            four_ccs: vec![ANY.to_owned()],
            extensions: MULTITRACK | MOD_EX,
        }
    }

    /// Reads the command object of a `connect`, or the properties of its answer.
    pub fn read(object: &Value) -> Capabilities {
        let mut four_ccs = Vec::new();
        let mut add = |four_cc: &str| {
            if four_ccs.len() < MAX_FOUR_CCS && !four_ccs.iter().any(|known| known == four_cc) {
                four_ccs.push(four_cc.to_owned());
            }
        };
        if let Some(Value::Array(list)) = object.property("fourCcList") {
            list.iter().filter_map(Value::as_str).for_each(&mut add);
        }
        for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
            if let Some(Value::Object(map) | Value::Ecma(map)) = object.property(map) {
                // A mask of nothing is what a codec has that is there no longer.
                let able = map.iter().filter(|(_, mask)| mask.as_f64() != Some(0.0));
                able.for_each(|(four_cc, _)| add(four_cc));
            }
        }
        let extensions = object.property("capsEx").and_then(Value::as_f64).unwrap_or_default();
        Capabilities {
            four_ccs,
            extensions: bits(extensions),
        }
    }

    /// What says this in a `connect` or its answer.
    pub(crate) fn properties(&self) -> Vec<(String, Value)> {
        let list = self.four_ccs.iter().map(|four_cc| four_cc.as_str().into()).collect();
        let map = || {
            Value::Object(
                self.four_ccs
                    .iter()
                    .map(|four_cc| (four_cc.clone(), CAN_FORWARD.into()))
                    .collect(),
            )
        };
        vec![
            ("fourCcList".to_owned(), Value::Array(list)),
            ("videoFourCcInfoMap".to_owned(), map()),
            ("audioFourCcInfoMap".to_owned(), map()),
            ("capsEx".to_owned(), f64::from(self.extensions).into()),
        ]
    }

    /// Whether the side knows Enhanced RTMP at all.
    pub fn is_enhanced(&self) -> bool {
        !self.four_ccs.is_empty()
    }

    /// Whether the side named this codec, or all.
    pub fn carries(&self, four_cc: &str) -> bool {
        self.four_ccs.iter().any(|known| known == four_cc || known == ANY)
    }

    /// Whether the side takes more than one track of a kind.
    pub fn multitrack(&self) -> bool {
        self.extensions & MULTITRACK != 0
    }
}

/// The bits of a number that came as a float; none of one that has no such bits.
fn bits(number: f64) -> u32 {
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return 0;
    }
    #[expect(clippy::as_conversions, reason = "a whole number within range")]
    let bits = number as u32;
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::amf0::object;

    #[test]
    fn a_list_of_version_1_is_read() {
        let list = Value::Array(vec!["av01".into(), "hvc1".into(), Value::Null]);
        let peer = Capabilities::read(&object([("fourCcList", list)]));
        assert!(peer.is_enhanced() && peer.carries("hvc1") && !peer.carries("vp09") && !peer.multitrack());
    }

    #[test]
    fn maps_and_bits_of_version_2_are_read() {
        let peer = Capabilities::read(&object([
            (
                "videoFourCcInfoMap",
                object([("vp09", 1.0.into()), ("av01", 0.0.into())]),
            ),
            ("audioFourCcInfoMap", Value::Ecma(vec![("*".to_owned(), 4.0.into())])),
            ("capsEx", 3.0.into()),
        ]));
        assert_eq!(peer.four_ccs, ["vp09", "*"]);
        assert!(peer.carries("Opus") && peer.multitrack());
        assert_eq!(peer.extensions, 3);
    }

    #[test]
    fn classic_peers_and_nonsense_carry_nothing() {
        for value in [
            Value::Null,
            object([]),
            object([("fourCcList", "av01".into()), ("capsEx", f64::NAN.into())]),
            object([("videoFourCcInfoMap", 1.0.into()), ("capsEx", (-1.0).into())]),
            object([("capsEx", 1e300.into())]),
        ] {
            assert_eq!(Capabilities::read(&value), Capabilities::default());
        }
    }

    #[test]
    fn long_lists_are_cut_and_doubles_left_out() {
        let list = (0..1_000).map(|n| format!("{:04}", n / 2).as_str().into()).collect();
        let peer = Capabilities::read(&object([("fourCcList", Value::Array(list))]));
        assert_eq!(peer.four_ccs.len(), MAX_FOUR_CCS);
        assert_eq!(peer.four_ccs[1], "0001");
    }

    #[test]
    fn ours_are_read_as_they_were_written() {
        let ours = Capabilities::ours();
        assert_eq!(Capabilities::read(&Value::Object(ours.properties())), ours);
    }
}
