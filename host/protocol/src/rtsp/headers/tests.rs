//! Sessions, ranges and RTP-Info as clients and servers write them, and as they should not.

use super::*;

#[test]
fn sessions_carry_their_timeout() {
    assert_eq!(
        Session::parse(" abc ;timeout=30"),
        Ok(Session {
            id: "abc".to_owned(),
            timeout: Some(30)
        })
    );
    assert_eq!(
        Session::parse("abc; unknown=1"),
        Ok(Session {
            id: "abc".to_owned(),
            timeout: None
        })
    );
    for bad in ["", ";timeout=1", "a b", "abc;timeout=x", "abc;timeout=-1"] {
        assert_eq!(Session::parse(bad), Err(Error::Session), "{bad}");
    }
    assert_eq!(Session::parse(&"a".repeat(MAX_SESSION_ID + 1)), Err(Error::Session));
}

#[test]
fn ranges_of_all_units_survive_being_printed() {
    for (text, printed) in [
        ("npt=0.000-", "npt=0-"),
        ("npt=now-", "npt=now-"),
        ("npt=-20", "npt=-20"),
        ("npt=0:01:02.50-1:00:00;time=19970123T143720Z", "npt=62.5-3600"),
        (
            "clock=19961108T142300Z-19961108T143520.25Z",
            "clock=19961108T142300Z-19961108T143520.25Z",
        ),
        ("clock=20260101T000000Z-", "clock=20260101T000000Z-"),
        ("smpte=10:07:00-10:07:33:05.01", "smpte=10:07:00:00.00-10:07:33:05.01"),
        ("smpte-25=10:07:00-", "smpte-25=10:07:00:00.00-"),
        ("smpte-30-drop=10:07:00:29-", "smpte-30-drop=10:07:00:29.00-"),
    ] {
        let range = Range::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(range.to_string(), printed);
        assert_eq!(Range::parse(printed), Ok(range));
    }
}

#[test]
fn broken_ranges_are_refused() {
    for bad in [
        "",
        "npt",
        "npt=",
        "npt=-",
        "npt=1",
        "npt=x-",
        "npt=+1-",
        "npt=1:2:3:4-",
        "npt=0:60-",
        "npt=1.x-",
        "npt=99999999999999999999-",
        "clock=-",
        "clock=19961108T1423Z-",
        "clock=19961108T142300-",
        "smpte=-",
        "smpte=1:2-",
        "smpte=1:2:3:4:5-",
        "smpte=100:00:00-",
        "fathoms=1-2",
    ] {
        assert_eq!(Range::parse(bad), Err(Error::Range), "{bad}");
    }
}

#[test]
fn every_truncation_of_a_range_is_read_or_refused() {
    for text in [
        "npt=0:01:02.50-1:00:00",
        "clock=19961108T142300Z-19961108T143520.25Z",
        "smpte=10:07:00-10:07:33:05.01",
    ] {
        for end in 0..text.len() {
            if let Ok(range) = Range::parse(&text[..end]) {
                assert_eq!(Range::parse(&range.to_string()), Ok(range));
            }
        }
    }
}

#[test]
fn rtp_info_keeps_urls_with_commas_and_semicolons_whole() {
    let text = "url=rtsp://h/a;b,c/trackID=0;seq=45102;rtptime=12345678,url=rtsp://h/a/trackID=1;seq=30211";
    let list = RtpInfo::parse_list(text).unwrap();
    assert_eq!(list[0].url, "rtsp://h/a;b,c/trackID=0");
    assert_eq!((list[0].sequence, list[0].timestamp), (Some(45102), Some(12_345_678)));
    assert_eq!((list[1].sequence, list[1].timestamp), (Some(30211), None));
    assert_eq!(RtpInfo::write_list(&list), text);
}

#[test]
fn broken_rtp_info_is_refused() {
    for bad in [
        "seq=1",
        "url=",
        "url=;seq=1",
        "url=a;seq=65536",
        "url=a;seq=-1",
        "url=a;rtptime=x",
    ] {
        assert_eq!(RtpInfo::parse_list(bad), Err(Error::RtpInfo), "{bad}");
    }
    let many = vec!["url=a;seq=1"; MAX_RTP_INFO + 1].join(",");
    assert_eq!(RtpInfo::parse_list(&many), Err(Error::RtpInfo));
    assert_eq!(RtpInfo::parse_list(""), Ok(vec![]));
}
