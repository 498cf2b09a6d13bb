use super::*;

const STREAM: &[u8] = include_bytes!("../../testdata/h265-bframes.h265");

fn parameters() -> Parameters {
    let mut parameters = Parameters::default();
    for nal in nal::split_annex_b(STREAM) {
        parameters.handle(&Bytes::copy_from_slice(nal));
    }
    assert!(parameters.is_complete());
    parameters
}

#[test]
fn a_real_stream_tells_size_profile_level_rate_and_depth() {
    let parameters = parameters();
    assert_eq!((parameters.width(), parameters.height()), (Some(176), Some(144)));
    assert_eq!(parameters.profile().as_deref(), Some("Main"));
    assert_eq!(parameters.level().as_deref(), Some("2"));
    assert_eq!(parameters.reordering(), (Some(2), Some(25.0)));
    assert!(!parameters.has_sub_layers());
}

#[test]
fn a_record_gives_its_parameter_sets_back() {
    let parameters = parameters();
    let record = parameters.configuration_record();
    assert_eq!(record[..2], [1, 1]);
    assert_eq!(record[13..23], [0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]);
    assert_eq!(Parameters::from_configuration_record(&record), Ok((parameters, 4)));
    assert_eq!(Parameters::default().configuration_record(), Bytes::new());
    for length in 0..record.len() {
        assert!(
            Parameters::from_configuration_record(&record[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_keyframe_is_a_random_access_picture() {
    let nals = nal::split_annex_b(STREAM);
    let keys = nals.iter().filter(|nal| NalType::of(nal).is_random_access()).count();
    assert_eq!(keys, 2, "an IDR and a CRA picture");
    assert!(is_key(&nal::from_nals([&[21u8 << 1, 1, 0x80][..]]).unwrap()));
    assert!(!is_key(&nal::from_nals([&[1u8 << 1, 1, 0x80][..]]).unwrap()));
    assert!(!NalType(0).is_referenced() && NalType(1).is_referenced() && NalType(19).is_referenced());
}

#[test]
fn hostile_parameter_sets_end_in_an_error() {
    let sps = parameters().sps;
    for length in 0..sps.len() {
        let _ = Sps::parse(&sps[..length]);
    }
    for byte in 2..sps.len() {
        for bit in 0..8 {
            let mut flipped = sps.to_vec();
            flipped[byte] ^= 1 << bit;
            if let Ok(sps) = Sps::parse(&flipped) {
                assert!(sps.width <= MAX_DIMENSION && sps.height <= MAX_DIMENSION && sps.reorder_depth <= 16);
            }
        }
    }
    assert_eq!(Sps::parse(&[0x42; 5_000]), Err(Error::TooLarge("parameter set")));
    assert_eq!(Sps::parse(&[]), Err(Error::Truncated));
}
