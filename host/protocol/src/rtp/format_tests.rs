use super::*;
use crate::rtp::testing::streams;

fn format(kind: Kind, payload_type: u8, encoding: &str, clock_rate: u32, channels: u8, fmtp: &str) -> Format {
    Format {
        kind,
        payload_type,
        encoding: encoding.into(),
        clock_rate,
        channels,
        fmtp: fmtp.into(),
    }
}

#[test]
fn every_track_comes_back_from_its_format() {
    for stream in streams::all() {
        let mut expected = stream.track.clone();
        if let Codec::Av1(parameters) = &mut expected.codec {
            // SDP has no place for the sequence header.
            *parameters = av1::Parameters::default();
        }
        if let Codec::Mp3 { .. } = expected.codec {
            // Nor for what the frames say anyway.
            expected.codec = MPEG_AUDIO;
        }
        if let Codec::Generic { payload_type, .. } = &mut expected.codec {
            *payload_type = 96;
        }
        assert_eq!(Format::of(&stream.track, 96).track(stream.track.id), expected);
    }
}

#[test]
fn formats_of_cameras_and_tools_are_understood() {
    let check = |format: Format, name: &str, kind| {
        let track = format.track(TrackId(1));
        assert_eq!((track.codec.name(), track.kind), (name, kind), "{format:?}");
        track
    };
    let track = check(
        format(
            Kind::Video,
            96,
            "H264",
            90_000,
            1,
            "packetization-mode=1; profile-level-id=42C01E;sprop-parameter-sets=Z0LAHtkAoD2wEQAAAwABAAADADwPFi5I,aMuDyyA=",
        ),
        "H264",
        Kind::Video,
    );
    assert_eq!(track.codec.dimensions(), Some((640, 480)));
    check(format(Kind::Video, 96, "H264", 90_000, 1, ""), "H264", Kind::Video);
    check(
        format(Kind::Video, 96, "h264", 90_000, 1, "sprop-parameter-sets=***"),
        "H264",
        Kind::Video,
    );
    check(format(Kind::Video, 26, "", 90_000, 1, ""), "M-JPEG", Kind::Video);
    let hbr = "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=119056E500";
    let track = check(
        format(Kind::Audio, 97, "MPEG4-GENERIC", 48_000, 2, hbr),
        "MPEG-4 Audio",
        Kind::Audio,
    );
    assert_eq!(track.codec.audio(), Some((48_000, 2)));
    let latm = "profile-level-id=15; object=2; cpresent=0; config=400024203fc0";
    let track = check(
        format(Kind::Audio, 97, "MP4A-LATM", 44_100, 2, latm),
        "MPEG-4 Audio",
        Kind::Audio,
    );
    assert_eq!(track.codec.audio(), Some((44_100, 2)));
    let track = check(
        format(Kind::Audio, 97, "opus", 48_000, 2, "sprop-stereo=1"),
        "Opus",
        Kind::Audio,
    );
    assert_eq!(track.codec, Codec::Opus { channels: 2 });
    let track = check(format(Kind::Audio, 97, "OPUS", 48_000, 2, ""), "Opus", Kind::Audio);
    assert_eq!(track.codec, Codec::Opus { channels: 1 });
    let track = check(format(Kind::Audio, 8, "", 8_000, 1, ""), "G711", Kind::Audio);
    assert_eq!(
        track.codec,
        Codec::G711 {
            mu_law: false,
            sample_rate: 8_000,
            channels: 1
        }
    );
    check(format(Kind::Audio, 97, "L16", 48_000, 2, ""), "LPCM", Kind::Audio);
    check(format(Kind::Audio, 10, "", 44_100, 2, ""), "LPCM", Kind::Audio);
}

#[test]
fn what_is_not_known_is_generic_and_keeps_its_lines() {
    let check = |format: Format, rtpmap: &str| {
        let track = format.track(TrackId(1));
        let Codec::Generic {
            payload_type,
            rtpmap: got,
            fmtp,
        } = &track.codec
        else {
            panic!("{track:?}")
        };
        assert_eq!(
            (*payload_type, got.as_str(), fmtp),
            (format.payload_type, rtpmap, &format.fmtp)
        );
        assert_eq!(track.kind, format.kind);
        assert_eq!(Format::of(&track, format.payload_type), format);
    };
    check(
        format(Kind::Data, 107, "vnd.onvif.metadata", 90_000, 1, ""),
        "vnd.onvif.metadata/90000",
    );
    check(format(Kind::Audio, 97, "speex", 16_000, 2, "vbr=on"), "speex/16000/2");
    check(format(Kind::Video, 33, "", 90_000, 1, ""), "");
    check(
        format(Kind::Audio, 97, "mpeg4-generic", 48_000, 2, "mode=CELP-cbr"),
        "mpeg4-generic/48000/2",
    );
    check(
        format(Kind::Audio, 97, "MP4A-LATM", 48_000, 2, "cpresent=1"),
        "MP4A-LATM/48000/2",
    );
}

#[test]
fn payload_types_are_never_shared() {
    let generic = |payload_type| {
        let codec = Codec::Generic {
            payload_type,
            rtpmap: "x/1000".into(),
            fmtp: String::new(),
        };
        Track {
            id: TrackId(0),
            kind: Kind::Data,
            codec,
            clock_rate: 1_000,
            extra: vec![],
            derived: None,
        }
    };
    let tracks = [
        streams::h264().track,
        generic(96),
        streams::aac().track,
        generic(96),
        generic(120),
        streams::g711().track,
    ];
    let numbers: Vec<u8> = Format::of_all(&tracks)
        .iter()
        .map(|format| format.payload_type)
        .collect();
    assert_eq!(numbers, [97, 96, 98, 99, 120, 0]);
}

#[test]
fn served_formats_say_what_players_need() {
    let check = |track: &Track, rtpmap: &str, parts: &[&str]| {
        let format = Format::of(track, 96);
        assert_eq!(format.rtpmap().as_deref(), Some(rtpmap));
        for part in parts {
            assert!(format.fmtp.contains(part), "{part} in {}", format.fmtp);
        }
    };
    let sets = [
        "packetization-mode=1",
        "profile-level-id=64000B",
        "sprop-parameter-sets=Z2QAC",
    ];
    check(&streams::h264().track, "H264/12800", &sets);
    check(
        &streams::h265().track,
        "H265/12800",
        &["sprop-vps=QAE", "sprop-sps=QgE", "sprop-pps=RAH"],
    );
    check(
        &streams::aac().track,
        "mpeg4-generic/44100/2",
        &["mode=AAC-hbr", "sizelength=13", "config=1210"],
    );
    check(&streams::opus().track, "opus/48000/2", &["sprop-stereo=1"]);
    check(&streams::g711().track, "PCMU/8000", &[]);
    check(&streams::mjpeg().track, "JPEG/90000", &[]);
    check(&streams::av1().track, "AV1/90000", &["profile=0; level-idx=0; tier=0"]);
    let surround = Track {
        codec: Codec::Opus { channels: 6 },
        ..streams::opus().track
    };
    check(
        &surround,
        "multiopus/48000/6",
        &["num_streams=4", "channel_mapping=0,4,1,2,3,5"],
    );
}
