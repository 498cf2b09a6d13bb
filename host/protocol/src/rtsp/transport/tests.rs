//! Transport headers of real clients and broken ones.

use super::*;

fn one(text: &str) -> Transport {
    let list = Transport::parse_list(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(list.len(), 1, "{text}");
    list[0]
}

#[test]
fn what_clients_offer_is_understood() {
    // FFmpeg, GStreamer, live555 (VLC), and RFC 2326's own example.
    let ffmpeg = one("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
    assert_eq!(
        (ffmpeg.lower, ffmpeg.interleaved, ffmpeg.mode),
        (Lower::Tcp, Some((0, 1)), Some(Mode::Record))
    );
    let gstreamer = one("RTP/AVP/UDP;unicast;client_port=54518-54519;mode=RECORD");
    assert_eq!(
        (gstreamer.lower, gstreamer.client_port),
        (Lower::Udp, Some((54518, 54519)))
    );
    assert_eq!(gstreamer.mode, Some(Mode::Record));
    let live555 = one("RTP/AVP;unicast;client_port=4588-4589");
    assert_eq!((live555.lower, live555.mode), (Lower::Udp, None));
    let list =
        Transport::parse_list("RTP/AVP;multicast;ttl=127;mode=\"PLAY\",RTP/AVP;unicast;client_port=3456-3457").unwrap();
    assert_eq!(
        (list[0].multicast, list[0].ttl, list[0].mode),
        (true, Some(127), Some(Mode::Play))
    );
    assert_eq!((list[1].multicast, list[1].client_port), (false, Some((3456, 3457))));
}

#[test]
fn one_port_or_channel_means_the_pair_that_begins_there() {
    assert_eq!(one("RTP/AVP;client_port=5000").client_port, Some((5000, 5001)));
    assert_eq!(one("RTP/AVP/TCP;interleaved=4").interleaved, Some((4, 5)));
    assert_eq!(
        Transport::parse_list("RTP/AVP;client_port=65535"),
        Err(Error::Transport)
    );
}

#[test]
fn encrypted_profiles_are_told_apart_and_other_protocols_left_out() {
    assert_eq!(one("rtp/savpf/tcp").profile, Profile::Savp);
    assert_eq!(Transport::parse_list("RAW/RAW/UDP;port=1,x-real-rdt/udp"), Ok(vec![]));
}

#[test]
fn broken_transports_are_refused() {
    for bad in [
        "",
        ",",
        "RTP/AVP,",
        "RTP/AVP;client_port=",
        "RTP/AVP;client_port=a-b",
        "RTP/AVP;client_port=1-70000",
        "RTP/AVP/TCP;interleaved=0-256",
        "RTP/AVP/TCP;interleaved=-1",
        "RTP/AVP;ttl=300",
    ] {
        assert_eq!(Transport::parse_list(bad), Err(Error::Transport), "{bad}");
    }
    let many = vec!["RTP/AVP"; MAX_ALTERNATIVES + 1].join(",");
    assert_eq!(Transport::parse_list(&many), Err(Error::Transport));
}

#[test]
fn a_transport_survives_being_printed_and_cut_anywhere() {
    let text = "RTP/SAVP;multicast;destination=239.1.1.1;client_port=5000-5001;server_port=8000-8001;port=6000-6001;\
        ttl=16;ssrc=DEADBEEF;mode=play,RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";
    let list = Transport::parse_list(text).unwrap();
    assert_eq!(Transport::write_list(&list), text);
    for end in 0..text.len() {
        if let Ok(list) = Transport::parse_list(&text[..end])
            && !list.is_empty()
        {
            assert_eq!(
                Transport::parse_list(&Transport::write_list(&list)),
                Ok(list),
                "cut at {end}"
            );
        }
    }
}
