//! Descriptions of encoders, of careless cameras, and hostile ones.

use super::*;

const FFMPEG: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; profile-level-id=F4000A\r\n\
    a=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\nb=AS:69\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=control:streamid=1\r\n";

fn parse(text: &str) -> Session {
    Session::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Parses a description that consists of these lines and a version.
fn media(lines: &str) -> Result<Session, Error> {
    Session::parse(format!("v=0\n{lines}").as_bytes())
}

#[test]
fn an_encoders_description_becomes_medias_with_formats() {
    let session = parse(FFMPEG);
    assert_eq!((session.name.as_str(), session.medias.len()), ("No Name", 2));
    let [video, audio] = &session.medias[..] else {
        panic!("{session:?}")
    };
    assert_eq!((video.kind, video.control.as_str()), (Kind::Video, "streamid=0"));
    let format = &video.formats[0];
    assert_eq!(
        (format.payload_type, format.encoding.as_str(), format.clock_rate),
        (96, "H264", 90_000)
    );
    assert_eq!(format.fmtp, "packetization-mode=1; profile-level-id=F4000A");
    assert_eq!((audio.formats[0].clock_rate, audio.formats[0].channels), (44_100, 2));
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    for (payload_type, clock_rate, channels) in [
        (0, 8_000, 1),
        (8, 8_000, 1),
        (9, 8_000, 1),
        (10, 44_100, 2),
        (11, 44_100, 1),
        (14, 90_000, 1),
        (26, 90_000, 1),
        (33, 90_000, 1),
    ] {
        let session = media(&format!("m=audio 0 RTP/AVP {payload_type}\n")).unwrap();
        let format = &session.medias[0].formats[0];
        assert_eq!(
            (format.clock_rate, format.channels, format.encoding.as_str()),
            (clock_rate, channels, "")
        );
    }
}

#[test]
fn a_dynamic_payload_type_without_rtpmap_is_still_a_format() {
    let session = media("m=application 0 RTP/AVP 107\n").unwrap();
    assert_eq!(session.medias[0].formats[0].clock_rate, DEFAULT_CLOCK_RATE);
}

#[test]
fn attributes_before_and_behind_each_other_belong_to_their_payload_type() {
    let session = media(
        "m=video 0 RTP/AVP 96 97\na=fmtp:97 b=2\na=rtpmap:97 H265/90000\na=rtpmap:96 H264/90000\na=fmtp:96 a=1\na=fmtp:96 a=2\n",
    )
    .unwrap();
    let formats: Vec<_> = session.medias[0]
        .formats
        .iter()
        .map(|f| (f.encoding.as_str(), f.fmtp.as_str()))
        .collect();
    assert_eq!(formats, [("H264", "a=1"), ("H265", "b=2")]);
}

#[test]
fn a_cameras_back_channel_is_told_from_its_medias() {
    let session = media(
        "a=recvonly\nm=audio 0 RTP/AVP 0\na=control:trackID=1\nm=audio 0 RTP/AVP 0\na=control:back\na=sendonly\n",
    )
    .unwrap();
    assert_eq!(
        session.medias.iter().map(Media::is_back_channel).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn medias_that_are_not_rtp_have_no_formats() {
    assert!(media("m=application 9 udp wms\n").unwrap().medias[0].formats.is_empty());
}

#[test]
fn careless_text_is_read() {
    let session = Session::parse(b"v=0\ns=Cam\xe9ra\x07\nz=?\n\nm=video 0/2 RTP/AVP 26\x00").unwrap();
    assert_eq!((session.name.as_str(), session.medias.len()), ("Cam\u{fffd}ra", 1));
}

#[test]
fn broken_descriptions_are_refused() {
    for (lines, error) in [
        ("m=\n", Error::Sdp),
        ("m=video 0\n", Error::Sdp),
        ("nonsense\n", Error::Sdp),
        ("m=video 0 RTP/AVP x\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP 128\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP -1\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/0\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 H264\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP 96\na=rtpmap:96\n", Error::MediaFormat),
        ("m=video 0 RTP/AVP 96\na=rtpmap:300 H264/90000\n", Error::MediaFormat),
        ("m=audio 0 RTP/AVP 96\na=rtpmap:96 L16/48000/0\n", Error::MediaFormat),
        ("m=audio 0 RTP/AVP 96\na=rtpmap:96 L16/48000/999\n", Error::MediaFormat),
        (
            "m=audio 0 RTP/AVP 0\na=control:a\nm=audio 0 RTP/AVP 8\na=control:a\n",
            Error::DuplicateControl,
        ),
    ] {
        assert_eq!(media(lines), Err(error), "{lines}");
    }
    assert_eq!(Session::parse(b""), Err(Error::Sdp));
    assert_eq!(Session::parse(b"m=video 0 RTP/AVP 96\n"), Err(Error::Sdp));
}

#[test]
fn bounds_hold() {
    let medias = |count: usize| media(&"m=audio 0 RTP/AVP 0\n".repeat(count));
    assert_eq!(medias(MAX_MEDIAS).unwrap().medias.len(), MAX_MEDIAS);
    assert_eq!(medias(MAX_MEDIAS + 1), Err(Error::TooManyMedias));
    let formats = |count: usize| {
        let types: Vec<_> = (0..count).map(|payload_type| payload_type.to_string()).collect();
        media(&format!("m=audio 0 RTP/AVP {}\n", types.join(" ")))
    };
    assert_eq!(formats(MAX_FORMATS).unwrap().medias[0].formats.len(), MAX_FORMATS);
    assert_eq!(formats(MAX_FORMATS + 1), Err(Error::MediaFormat));
    assert_eq!(media(&format!("s={}\n", "a".repeat(MAX_SDP))), Err(Error::BodyTooLarge));
}

#[test]
fn every_truncation_is_read_or_refused_and_what_is_read_survives_being_printed() {
    for end in 0..=FFMPEG.len() {
        if let Ok(session) = Session::parse(&FFMPEG.as_bytes()[..end]) {
            assert_eq!(parse(&session.to_string()), session, "cut at {end}");
        }
    }
}

#[test]
fn our_own_description_reads_as_it_was_meant() {
    let format = Format {
        kind: Kind::Audio,
        payload_type: 96,
        encoding: "opus".to_owned(),
        clock_rate: 48_000,
        channels: 2,
        fmtp: "sprop-stereo=1".to_owned(),
    };
    let text = Session::describe("cam", [format.clone()]).to_string();
    assert_eq!(
        text,
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n\
         m=audio 0 RTP/AVP 96\r\na=control:trackID=0\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 sprop-stereo=1\r\n"
    );
    assert_eq!(parse(&text).medias[0].formats, [format]);
}
