use super::*;

const STREAM: &[u8] = include_bytes!("../../testdata/h264-bframes.h264");
const INTRA_REFRESH: &[u8] = include_bytes!("../../testdata/h264-intra-refresh.h264");

fn parameters(stream: &[u8]) -> Parameters {
    let mut parameters = Parameters::default();
    for nal in nal::split_annex_b(stream) {
        parameters.handle(&Bytes::copy_from_slice(nal));
    }
    assert!(parameters.is_complete());
    parameters
}

#[test]
fn a_real_stream_tells_size_profile_level_rate_and_depth() {
    let parameters = parameters(STREAM);
    assert_eq!((parameters.width(), parameters.height()), (Some(176), Some(144)));
    assert_eq!(parameters.profile().as_deref(), Some("High"));
    assert_eq!(parameters.level().as_deref(), Some("1.1"));
    assert_eq!(parameters.reordering(), (Some(2), Some(25.0)));
}

#[test]
fn our_reading_equals_that_of_another_parser() {
    for stream in [STREAM, INTRA_REFRESH] {
        let sps = parameters(stream).sps;
        let ours = Sps::parse(&sps).unwrap();
        let rbsp = h264_reader::rbsp::decode_nal(&sps).unwrap();
        let bits = h264_reader::rbsp::BitReader::new(&rbsp[..]);
        let theirs = h264_reader::nal::sps::SeqParameterSet::from_bits(bits).unwrap();
        assert_eq!(theirs.pixel_dimensions().unwrap(), (ours.width, ours.height));
        let restrictions = theirs.vui_parameters.unwrap().bitstream_restrictions.unwrap();
        assert_eq!(
            Some(restrictions.max_num_reorder_frames),
            ours.reorder_depth.map(u32::from)
        );
    }
}

#[test]
fn sizes_are_cropped_as_the_encoder_says() {
    let check = |sps: &str, size, rate, depth| {
        let sps = Sps::parse(&hex(sps)).unwrap();
        assert_eq!(
            ((sps.width, sps.height), sps.frame_rate, sps.reorder_depth),
            (size, rate, depth)
        );
    };
    // x264: Main, interlaced, 1080 of 1088 rows; Constrained Baseline; High 4:2:2 in 10 bits, 300 of 304 columns.
    check(
        "674d4028eca03c0227ef011000000300100000030329f162d960",
        (1920, 1080),
        Some(25.0),
        Some(2),
    );
    check(
        "6742c01ed900a03db0110000030001000003003c0f162e48",
        (640, 480),
        Some(30.0),
        Some(0),
    );
    check(
        "677a000db6cd94131bee7c0440000003004000000f03c50a6580",
        (300, 202),
        Some(30.0),
        Some(2),
    );
}

#[test]
fn a_record_gives_its_parameter_sets_back() {
    let parameters = parameters(STREAM);
    let record = parameters.configuration_record();
    assert_eq!(record[..6], [1, 100, 0, 11, 0xff, 0xe1]);
    assert_eq!(record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
    assert_eq!(Parameters::from_configuration_record(&record), Ok((parameters, 4)));
    assert_eq!(Parameters::default().configuration_record(), Bytes::new());
    for length in 0..record.len() - 4 {
        assert!(
            Parameters::from_configuration_record(&record[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_keyframe_is_an_idr_picture_or_a_recovery_point() {
    let nals = nal::split_annex_b(STREAM);
    assert_eq!(
        nals.iter().filter(|nal| NalType::of(nal) == NalType::IDR).count(),
        4,
        "two pictures of two slices"
    );
    let refresh = nal::split_annex_b(INTRA_REFRESH);
    assert!(
        refresh
            .iter()
            .filter(|nal| NalType::of(nal) == NalType::SEI && has_recovery_point(nal))
            .count()
            == 2
    );
    assert!(is_key(
        &nal::from_nals([&[0x06, 6, 1, 0x84, 0x80][..], &[0x41, 1]]).unwrap()
    ));
    assert!(is_key(
        &nal::from_nals([&[0x06, 5, 1, 9, 6, 1, 0x84, 0x80][..], &[0x41, 1]]).unwrap()
    ));
    assert!(!is_key(
        &nal::from_nals([&[0x06, 5, 1, 9, 0x80][..], &[0x41, 1]]).unwrap()
    ));
    assert!(!is_key(&[]));
    assert!(is_disposable(&nal::from_nals([&[0x06, 1, 0][..], &[0x01, 1]]).unwrap()));
    assert!(!is_disposable(&nal::from_nals([&[0x01, 1][..], &[0x41, 1]]).unwrap()));
}

#[test]
fn a_parameter_set_with_another_id_stays_in_the_stream() {
    let mut parameters = Parameters::default();
    assert_eq!(parameters.handle(&Bytes::from_static(&[0x68, 0x80])), Some(true));
    assert_eq!(parameters.handle(&Bytes::from_static(&[0x68, 0x80])), Some(false));
    assert_eq!(parameters.handle(&Bytes::from_static(&[0x68, 0x40])), None, "id 1");
    assert_eq!(parameters.handle(&Bytes::from_static(&[0x68, 0x81])), Some(true));
    assert_eq!(
        parameters.handle(&Bytes::from(vec![0x67; 5_000])),
        Some(false),
        "too large to keep"
    );
    assert!(parameters.sps.is_empty());
}

#[test]
fn hostile_parameter_sets_end_in_an_error() {
    let sps = parameters(STREAM).sps;
    for length in 0..sps.len() {
        // The size comes early; what a cut VUI would have said is missing.
        let _ = Sps::parse(&sps[..length]);
    }
    for byte in 0..sps.len() {
        for bit in 0..8 {
            let mut flipped = sps.to_vec();
            flipped[byte] ^= 1 << bit;
            if let Ok(sps) = Sps::parse(&flipped) {
                assert!(sps.width <= MAX_DIMENSION && sps.height <= MAX_DIMENSION);
            }
        }
    }
    assert_eq!(Sps::parse(&[0x67; 5_000]), Err(Error::TooLarge("parameter set")));
    assert_eq!(Sps::parse(&[]), Err(Error::Truncated));
    assert_eq!(Sps::parse(&[0x68, 1]), Err(Error::Invalid("NAL unit type")));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
