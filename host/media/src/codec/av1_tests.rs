use super::*;
use crate::codec::testdata::ivf;

/// The temporal units of the fixture in canonical form, and the parameters they bring.
fn stream() -> (Vec<Bytes>, Parameters) {
    let mut parameters = Parameters::default();
    let units = ivf(include_bytes!("../../testdata/av1.ivf")).into_iter().map(|unit| {
        let mut payload = BytesMut::new();
        for obu in iter(unit).filter(|obu| obu.kind != ObuType::TEMPORAL_DELIMITER) {
            parameters.handle(&obu);
            obu.put_sized(&mut payload);
        }
        payload.freeze()
    });
    (units.collect(), parameters)
}

#[test]
fn a_real_stream_has_its_keyframes_and_its_parameters() {
    let (units, parameters) = stream();
    for unit in &units {
        check(unit).unwrap();
    }
    let keys: Vec<usize> = units
        .iter()
        .enumerate()
        .filter(|(_, unit)| is_key(unit))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(keys[0], 0);
    assert!((2..=3).contains(&keys.len()), "{keys:?}");
    let sequence = parameters.sequence().unwrap();
    assert_eq!(
        (sequence.width, sequence.height, sequence.profile, sequence.bit_depth),
        (176, 144, 0, 8)
    );
    assert_eq!(
        (sequence.level_index, sequence.high_tier, sequence.monochrome),
        (0, false, false)
    );
}

#[test]
fn a_record_gives_its_sequence_header_back() {
    let (_, parameters) = stream();
    let record = parameters.configuration_record();
    assert_eq!(record[..4], [0x81, 0, 0x0c, 0]);
    assert_eq!(Parameters::from_configuration_record(&record), Ok(parameters));
    assert_eq!(Parameters::default().configuration_record(), Bytes::new());
    assert!(Parameters::from_configuration_record(&record[..3]).is_err());
}

#[test]
fn leb128_numbers_convert_both_ways_and_are_bounded() {
    for value in [0, 1, 127, 128, 16_383, 16_384, MAX_ACCESS_UNIT] {
        let mut bytes = Vec::new();
        put_leb128(&mut bytes, value);
        assert_eq!(leb128(&mut Cursor::new(&bytes)), Ok(value));
        assert_eq!(
            leb128(&mut Cursor::new(&bytes[..bytes.len() - 1])),
            Err(Error::Truncated)
        );
    }
    assert_eq!(
        leb128(&mut Cursor::new(&[0xff; 8])),
        Err(Error::Invalid("LEB128 number"))
    );
    assert_eq!(
        leb128(&mut Cursor::new(&[0xff, 0xff, 0xff, 0xff, 1])),
        Err(Error::TooLarge("OBU"))
    );
    assert_eq!(leb128(&mut Cursor::new(&[0x80, 0x80, 0])), Ok(0), "padded");
}

#[test]
fn truncation_and_nonsense_end_in_an_error() {
    let (units, parameters) = stream();
    let unit = &units[0];
    let ends: Vec<usize> = iter(unit)
        .scan(0, |at, _| {
            *at += Obu::parse(&unit[*at..]).unwrap().1;
            Some(*at)
        })
        .collect();
    for length in 0..unit.len() {
        assert_eq!(
            check(&unit[..length]).is_ok(),
            length == 0 || ends.contains(&length),
            "{length}"
        );
        is_key(&unit[..length]);
    }
    let (obu, _) = Obu::parse(&parameters.sequence_header).unwrap();
    for byte in 0..obu.payload.len() {
        for bit in 0..8 {
            let mut flipped = obu.payload.to_vec();
            flipped[byte] ^= 1 << bit;
            let _ = Sequence::parse(&flipped);
        }
        let _ = Sequence::parse(&obu.payload[..byte]);
    }
    assert_eq!(check(&[0x12, 0]), Err(Error::Invalid("temporal delimiter")));
    assert_eq!(check(&[0x30, 0]), Err(Error::Invalid("OBU without size")));
    assert_eq!(
        check(&[0x7a, 0].repeat(MAX_OBUS + 1)),
        Err(Error::TooLarge("OBUs of a temporal unit"))
    );
    assert!(!is_key(&[]));
}
