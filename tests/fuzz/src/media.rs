//! Bitstreams: parameter sets, configuration records, byte streams.

use bytes::{Bytes, BytesMut};
use wasmtx_media::codec::{aac, ac3, adts, av1, dts, flac, h264, h265, jpeg, mp3, opus, vp8, vp9};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Codec, Kind, Track, TrackId, nal};

/// Everything that looks into H.264 takes any bytes, and sizes stay within the bound.
pub(crate) fn h264(data: &[u8]) {
    let mut parameters = h264::Parameters::default();
    for nal in nal::split_annex_b(data) {
        parameters.handle(&Bytes::copy_from_slice(nal));
        h264::has_recovery_point(nal);
        if let Ok(sps) = h264::Sps::parse(nal) {
            assert!(sps.width <= h264::MAX_DIMENSION && sps.height <= h264::MAX_DIMENSION);
            assert!(sps.reorder_depth.is_none_or(|depth| depth <= 16));
        }
    }
    let (_, _) = (parameters.profile(), parameters.level());
    record(&parameters.configuration_record(), |record| {
        assert_eq!(
            h264::Parameters::from_configuration_record(record),
            Ok((parameters.clone(), 4))
        );
    });
    times(Codec::H264(parameters), data);
}

pub(crate) fn h265(data: &[u8]) {
    let mut parameters = h265::Parameters::default();
    for nal in nal::split_annex_b(data) {
        parameters.handle(&Bytes::copy_from_slice(nal));
        if let Ok(sps) = h265::Sps::parse(nal) {
            assert!(sps.width <= h264::MAX_DIMENSION && sps.height <= h264::MAX_DIMENSION);
            assert!(sps.reorder_depth <= 16);
        }
    }
    let (_, _) = (parameters.profile(), parameters.level());
    record(&parameters.configuration_record(), |record| {
        assert_eq!(
            h265::Parameters::from_configuration_record(record),
            Ok((parameters.clone(), 4))
        );
    });
    times(Codec::H265(parameters), data);
}

/// OBUs written again with their sizes are canonical and read to the same; numbers convert both ways.
pub(crate) fn av1(data: &[u8]) {
    let mut parameters = av1::Parameters::default();
    let mut written = BytesMut::new();
    let obus: Vec<_> = av1::iter(data).take(av1::MAX_OBUS).collect();
    for obu in &obus {
        parameters.handle(obu);
        let _ = av1::Sequence::parse(obu.payload);
        obu.put_sized(&mut written);
    }
    assert_eq!(av1::iter(&written).collect::<Vec<_>>(), obus);
    if obus.iter().all(|obu| obu.kind != av1::ObuType::TEMPORAL_DELIMITER) {
        av1::check(&written).unwrap();
    }
    assert_eq!(
        av1::is_key(data),
        av1::is_key(&written) || obus.len() == av1::MAX_OBUS && av1::is_key(data)
    );
    record(&parameters.configuration_record(), |record| {
        assert_eq!(
            av1::Parameters::from_configuration_record(record),
            Ok(parameters.clone())
        );
    });
    if let Ok(number) = av1::leb128(&mut Cursor::new(data)) {
        let mut bytes = Vec::new();
        av1::put_leb128(&mut bytes, number);
        assert_eq!(av1::leb128(&mut Cursor::new(&bytes)), Ok(number));
    }
}

/// A record is kept as it came; the one inside a StreamMuxConfig parses to the same values.
pub(crate) fn aac(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(config) = aac::Config::parse(bytes.clone()) {
        assert_eq!(config.bytes(), bytes);
        assert!(config.sample_rate > 0 && config.channels <= 8);
        if let Some(built) = aac::Config::new(config.object_type, config.sample_rate, config.channels) {
            assert_eq!(
                (built.sample_rate, built.channels),
                (config.sample_rate, config.channels)
            );
        }
    }
    if let Ok(header) = adts::Header::parse(data)
        && let Ok(config) = header.config()
    {
        let written = adts::header(&config, header.length - header.size);
        assert!(written.is_ok_and(|written| adts::Header::parse(&written).unwrap().config() == Ok(config)));
    }
    if let Ok(config) = aac::Config::parse_stream_mux(data) {
        assert_eq!(aac::Config::parse(config.bytes()), Ok(config));
    }
}

/// Records, byte streams and canonical payloads convert to each other; frame headers take any bytes.
pub(crate) fn containers(data: &[u8]) {
    if let Ok((parameters, _)) = h264::Parameters::from_configuration_record(data) {
        let _ = parameters.configuration_record();
    }
    if let Ok((parameters, _)) = h265::Parameters::from_configuration_record(data) {
        let _ = parameters.configuration_record();
    }
    let _ = av1::Parameters::from_configuration_record(data);
    let nals = nal::split_annex_b(data);
    if let Ok(payload) = nal::from_nals(nals.iter().copied()) {
        nal::check(&payload).unwrap();
        assert_eq!(nal::iter(&payload).collect::<Vec<_>>(), nals);
        assert_eq!(nal::split_annex_b(&nal::to_annex_b(&payload)), nals);
    }
    if nal::check(data).is_ok() {
        assert_eq!(nal::from_nals(nal::iter(data)).unwrap(), data);
    }
    if let Ok(image) = jpeg::Image::parse(data) {
        assert_eq!(jpeg::Image::parse(&image.to_jfif()), Ok(image));
        assert_eq!(jpeg::dimensions(data), Some((image.width.into(), image.height.into())));
    }
    let _ = (
        vp8::is_key(data),
        vp8::dimensions(data),
        vp9::header(data),
        jpeg::dimensions(data),
    );
    if let Ok(header) = mp3::Header::parse(data) {
        assert!(header.sample_rate > 0 && header.length < 4_096 && header.samples <= 1_152);
    }
    if let Ok(header) = ac3::Header::parse(data) {
        assert!(header.sample_rate > 0 && header.length <= 3_840 && (1..=6).contains(&header.channels));
    }
    if let Ok(config) = flac::Config::parse(data) {
        assert_eq!(flac::Config::parse(&config.bytes()), Ok(config.clone()));
        assert_eq!(flac::Config::parse(&config.file_header()), Ok(config));
    }
    let _ = flac::samples(data);
    assert!(opus::duration(data).is_ok_and(|samples| samples <= 5_760) || opus::duration(data).is_err());
}

fn record(record: &[u8], check: impl FnOnce(&[u8])) {
    if !record.is_empty() {
        check(record);
    }
}

/// Decoding times never decrease, whatever the presentation times.
fn times(codec: Codec, data: &[u8]) {
    let track = Track {
        id: TrackId(0),
        kind: Kind::Video,
        codec,
        clock_rate: 90_000,
        extra: vec![],
        derived: None,
    };
    let mut estimator = dts::Estimator::new(&track);
    let mut last = i64::MIN;
    for chunk in data.chunks(2) {
        let pts = i64::from(chunk[0]) << (chunk.last().unwrap_or(&0) & 31);
        let dts = estimator.estimate(pts);
        assert!(dts >= last);
        last = dts;
    }
}
