//! Paths whose stream a plugin finds when somebody wants to read them.

use crate::harness::{
    Backend, Codec, OPEN, Player, Publisher, Reader, Reply, Server, Tool, Transport, assert_run, made_up, plugin, until,
};

/// A server to pull from, with a clip that plays.
fn origin() -> (Server, Tool) {
    let server = Server::start(OPEN);
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    (server, publishing)
}

/// A server whose paths below `live/` a plugin finds; `grant` is what it may use.
fn edge(config: &str, grant: &str) -> Server {
    Server::start(&format!(
        "plugins:
  finder:
    file: {}
    config: {{ {config} }}
    grant: {{ {grant} }}
paths:
  '~^live/':
    plugins: [finder]
    sourceOnDemandStartTimeout: 3s
    sourceOnDemandCloseAfter: 1s
",
        plugin("resolver-modes").display()
    ))
}

#[track_caller]
fn refused(server: &Server, path: &str) -> String {
    match Reader::open(server.address("rtspAddress"), path, None) {
        Ok(_) => panic!("{path} is there"),
        Err(reason) => reason,
    }
}

#[test]
fn a_player_sees_the_stream_that_a_plugin_finds_and_it_ends_with_the_last_reader() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tcp, "cam1");
    let edge = edge(&format!("mode: source, to: '{url}'"), "sources: [127.0.0.1]");
    let got = Player::FFmpeg.read(&edge, Transport::Tcp, "live/a", 30).hashes();
    assert_run(&Codec::H264.clip().hashes(), &got, 30);
    until("the path is gone", || edge.path("live/a").is_none().then_some(()));
    until("nobody reads the origin", || {
        (origin.api("rtspsessions/list")["itemCount"] == 1).then_some(())
    });
}

#[test]
fn a_private_address_that_is_not_listed_is_not_pulled_from() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tcp, "cam1");
    let edge = edge(&format!("mode: source, to: '{url}'"), "");
    assert!(refused(&edge, "live/a").contains("404"));
    edge.logged(&["is not a public address"]);
    assert_eq!(origin.api("rtspconns/list")["itemCount"], 1);
}

#[test]
fn a_service_tells_where_the_stream_is_and_a_slow_one_delays_only_its_asker() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tcp, "cam1");
    let directory = Backend::start(move |route, _| match route {
        "/live/slow" => Reply::Held,
        "/live/a" => Reply::Now(200, url.clone()),
        _ => Reply::Now(404, String::new()),
    });
    let (to, host) = (directory.url("/$PATH"), directory.host());
    let edge = edge(
        &format!("mode: ask, to: '{to}'"),
        &format!("http: ['{host}'], sources: [127.0.0.1]"),
    );
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| refused(&edge, "live/slow"));
        let got = Player::FFmpeg.read(&edge, Transport::Tcp, "live/a", 10).hashes();
        assert_run(&Codec::H264.clip().hashes(), &got, 10);
        assert!(refused(&edge, "live/b").contains("404"));
        directory.release();
        assert!(slow.join().expect("an answer").contains("404"));
    });
}

#[test]
fn a_client_is_sent_to_another_path() {
    let edge = Server::start(&format!(
        "plugins:
  finder:
    file: {}
    config: {{ mode: redirect, to: real }}
paths:
  alias:
    plugins: [finder]
  real:
",
        plugin("resolver-modes").display()
    ));
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&edge, Transport::Tcp, "real", &clip);
    edge.online("real");
    let got = Player::FFmpeg.read(&edge, Transport::Tcp, "alias", 10).hashes();
    assert_run(&clip.hashes(), &got, 10);
}

#[test]
fn a_plugin_that_fails_or_knows_nothing_leaves_the_path_as_it_is() {
    let edge = edge("to: 'rtsp://127.0.0.1:1/x'", "sources: [127.0.0.1]");
    for mode in ["nothing", "trap", "spin", "garbage-source", "file-source", "circle"] {
        assert!(refused(&edge, &format!("live/{mode}")).contains("404"), "{mode}");
    }
    // A client that publishes needs nobody to find it.
    let mut publisher = Publisher::vp8(&edge, "live/here");
    let reader = Reader::new(&edge, "live/here");
    publisher.send_all(&made_up(20, 10, 100));
    reader.until(0, 20);
}
