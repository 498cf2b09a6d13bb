//! URLs as clients build them.

use super::*;

fn parse(url: &str) -> Url {
    Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn clients_put_the_control_before_or_behind_the_query() {
    for (text, path, query, track) in [
        ("rtsp://h/cam/1/trackID=0", "cam/1", "", Some(0)),
        ("rtsp://h:8554/cam/1/trackID=12/", "cam/1", "", Some(12)),
        ("rtsp://h/cam/1/trackID=0?token=x", "cam/1", "token=x", Some(0)),
        ("rtsp://h/cam/1?token=x/trackID=0", "cam/1", "token=x", Some(0)),
        ("rtsp://h/cam/1/?token=a/b/trackID=3", "cam/1", "token=a/b", Some(3)),
        ("rtsp://h/cam/1?token=a/b", "cam/1", "token=a/b", None),
        ("rtsp://h/cam/?token=x/", "cam", "token=x", None),
        ("rtsp://h/trackID=0", "", "", Some(0)),
        ("rtsp://h/cam/trackID=x", "cam/trackID=x", "", None),
        (
            "rtsp://h/cam/trackID=99999999999999999999",
            "cam/trackID=99999999999999999999",
            "",
            None,
        ),
        ("rtsp://h", "", "", None),
        ("/cam", "cam", "", None),
    ] {
        let mut url = parse(text);
        assert_eq!(url.take_track(), track, "{text}");
        assert_eq!(
            (url.decoded_path().as_deref(), url.bare_query()),
            (Ok(path), query),
            "{text}"
        );
    }
}

#[test]
fn the_path_is_decoded_once() {
    for (text, path) in [
        ("rtsp://h/live%20cam", "live cam"),
        ("rtsp://h/a%2fb", "a/b"),
        ("rtsp://h/%252e%252e", "%2e%2e"),
        ("rtsp://h/%C3%A9", "é"),
        ("rtsp://h/a+b", "a+b"),
    ] {
        assert_eq!(parse(text).decoded_path().as_deref(), Ok(path));
    }
    for bad in [
        "rtsp://h/%",
        "rtsp://h/%1",
        "rtsp://h/%zz",
        "rtsp://h/%+1",
        "rtsp://h/%ff",
    ] {
        assert_eq!(parse(bad).decoded_path(), Err(Error::Url), "{bad}");
    }
}

#[test]
fn users_and_fragments_are_left_out() {
    let url = parse("RTSPS://joe:p@ss@[::1]:322/cam#top");
    assert_eq!(
        (url.scheme.as_str(), url.authority.as_str(), url.path.as_str()),
        ("rtsps", "[::1]:322", "cam")
    );
}

#[test]
fn other_schemes_and_bare_words_are_refused() {
    for bad in ["", "*", "cam", "http://h/cam", "file:///etc/passwd", "://h/cam"] {
        assert_eq!(Url::parse(bad), Err(Error::Url), "{bad}");
    }
}

#[test]
fn a_control_is_found_below_its_stream_only() {
    for (text, control) in [
        ("rtsp://h/live/a/streamid=0", Some("streamid=0")),
        ("rtsp://h/live/a/stream=0?token=x", Some("stream=0")),
        ("rtsp://h/live/a?token=x/streamid=1", Some("streamid=1")),
        ("rtsp://h//live/a/", Some("")),
        ("rtsp://h/live/a", Some("")),
        ("rtsp://h/live/ab", None),
        ("rtsp://h/live", None),
    ] {
        assert_eq!(parse(text).control_below("live/a"), control, "{text}");
    }
}
