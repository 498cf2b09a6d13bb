//! Those that read beside the stream.

use crate::harness::{Codec, Player, Publisher, Server, Transport, made_up, until};

/// Waits until one of the plugin's own metrics is as it should be.
#[track_caller]
fn shows(server: &Server, name: &str, expected: impl Fn(f64) -> bool) -> f64 {
    let labels = [format!("name=\"{name}\""), "path=\"cam1\"".to_owned()];
    let labels = labels.each_ref().map(String::as_str);
    until(name, || {
        Some(server.metric("wasmtx_plugin_series", &labels)).filter(|value| expected(*value))
    })
}

/// The name that the metrics of the only track begin with.
#[track_caller]
fn track(server: &Server) -> String {
    let found = until("the plugin counts", || {
        let page = server.metrics();
        let (before, _) = page.split_once("_frames_per_second\"")?;
        Some(before.rsplit('"').next()?.to_owned())
    });
    assert!(found.starts_with("video"), "{found}");
    found
}

#[test]
fn stats_shows_what_a_stream_is_made_of() {
    let server = Server::start("paths:\n  cam1:\n    plugins:\n    - use: stats\n      config: { interval: 1 }\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    server.online("cam1");
    // The stream goes on for as long as somebody looks: what is shown is of its last second.
    let frames = made_up(20_000, 20, 1_000);
    let mut seconds = frames.chunks(25);
    seconds.by_ref().take(4).for_each(|frames| publisher.send_all(frames));
    let track = track(&server);
    let mut shows = |name: &str, expected: &dyn Fn(f64) -> bool| {
        let labels = [format!("name=\"{track}_{name}\""), "path=\"cam1\"".to_owned()];
        let labels = labels.each_ref().map(String::as_str);
        until(name, || {
            publisher.send_all(seconds.next().expect("frames for minutes"));
            expected(server.metric("wasmtx_plugin_series", &labels)).then_some(())
        });
    };
    let near = |expected: f64| move |value: f64| (value - expected).abs() < expected * 0.05;
    shows("bits_per_second", &near(200_000.0));
    shows("frames_per_second", &near(25.0));
    shows("gop_frames", &near(20.0));
    shows("keyframe_interval_seconds", &near(0.8));
    shows("frames", &|frames| frames >= 100.0);
    // And nothing, when nothing comes any more.
    self::shows(&server, &format!("{track}_bits_per_second"), |bits| bits == 0.0);
}

#[test]
fn stats_sees_what_ffmpeg_sends() {
    let server = Server::start("paths:\n  cam1:\n    plugins:\n    - use: stats\n      config: { interval: 1 }\n");
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    let track = track(&server);
    shows(&server, &format!("{track}_frames_per_second"), |rate| {
        (rate - 25.0).abs() < 1.0
    });
    shows(&server, &format!("{track}_gop_frames"), |frames| frames == 25.0);
    shows(&server, &format!("{track}_bits_per_second"), |bits| {
        (50_000.0..2_000_000.0).contains(&bits)
    });
}

#[test]
fn motion_size_tells_when_pictures_grow_and_when_they_are_small_again() {
    let server = Server::start("paths:\n  cam1:\n    plugins:\n    - use: motion-size\n      config: { hold: 1 }\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    server.online("cam1");
    publisher.send_all(&made_up(200, 25, 500));
    shows(&server, "motion_score", |score| (0.5..1.5).contains(&score));
    assert_eq!(shows(&server, "motion", |_| true), 0.0);
    publisher.send_all(&made_up(50, 25, 2_500));
    shows(&server, "motion", |motion| motion == 1.0);
    server.logged(&["motion", "active", "true"]);
    publisher.send_all(&made_up(100, 25, 500));
    shows(&server, "motion", |motion| motion == 0.0);
    server.logged(&["motion", "active", "false"]);
    assert_eq!(shows(&server, "motions", |_| true), 1.0);
}
