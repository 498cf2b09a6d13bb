//! How long sessions last, and who ends them: permits, changed users, plugins, the API.

use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{Codec, Login, Player, Publisher, Reader, Server, Transport, made_up, plugin, until};

const ADA: &str = "- user: ada\n  pass: engine\n  permissions: [{ action: publish }, { action: read }]\n";
const BOB: &str = "- user: bob\n  pass: difference\n  permissions: [{ action: publish }, { action: read }]\n";
const LOOKING_ON: &str = "- user: any\n  ips: ['127.0.0.1']\n  permissions: [{ action: api }, { action: metrics }]\n";

fn users(users: &[&str]) -> String {
    format!(
        "authInternalUsers:\n{}{LOOKING_ON}paths:\n  all_others:\n",
        users.concat()
    )
}

fn reload(server: &Server, yaml: &str) {
    server.folder().write("mediamtx.yml", yaml);
    server.logged(&["configuration reloaded"]);
}

fn publish(server: &Server, path: &str, login: Login<'_>) -> Result<Publisher, String> {
    Publisher::try_new(server, path, login, Kind::Video, MediaCodec::Vp8)
}

/// A server on whose paths this guest decides, told to answer so.
fn with_answer(answer: &str) -> String {
    let file = plugin("auth-modes");
    format!(
        "plugins:\n  auth:\n    file: {}\npathDefaults:\n  plugins: [{{ use: auth, config: {{ answer: {answer} }} }}]\npaths:\n  all_others:\n",
        file.display()
    )
}

/// How many sessions ended because their permission did.
fn expired(server: &Server) -> usize {
    server.log().matches("the permission ran out").count()
}

#[test]
fn whoever_is_removed_from_the_users_is_sent_away_however_its_media_travel() {
    let server = Server::start(&users(&[ADA, BOB]));
    let clip = Codec::H264.clip();
    let url = |user: &str, transport: Transport, path: &str| {
        server.url(transport, path).replacen("://", &format!("://{user}@"), 1)
    };
    let _stays = Player::FFmpeg.publish_to(&url("ada:engine", Transport::Tcp, "main"), Transport::Tcp, &clip);
    let source = server.online("main")["source"].clone();
    let gone: Vec<_> = (Transport::ALL.iter().zip(["tcp", "udp", "tls"]))
        .map(|(transport, path)| {
            let bobs = url("bob:difference", *transport, path);
            let publishing = Player::FFmpeg.publish_to(&bobs, *transport, &clip);
            let reading = Player::FFmpeg.read_from(&url("bob:difference", *transport, "main"), *transport, 100_000);
            (publishing, reading)
        })
        .collect();
    for path in ["tcp", "udp", "tls"] {
        server.online(path);
    }
    server.readers("main", gone.len());

    reload(&server, &users(&[ADA]));
    for (mut publishing, mut reading) in gone {
        publishing.wait();
        reading.tool.wait();
    }
    until("six sessions are over", || (expired(&server) == 6).then_some(()));
    for path in ["tcp", "udp", "tls"] {
        server.offline(path);
    }
    assert_eq!(server.online("main")["source"], source, "ada may still publish");
}

#[test]
fn whoever_may_do_less_is_sent_away_and_the_others_stay() {
    let server = Server::start(&users(&[ADA, BOB]));
    let frames = made_up(2, 1, 100);
    let ada = Some(("ada", "engine"));
    let mut publisher = publish(&server, "cam1", ada).expect("ada may publish");
    publisher.send(&frames[0]);
    let address = server.address("rtspAddress");
    let stays = Reader::open(address, "cam1", ada).expect("ada may read");
    let goes = Reader::open(address, "cam1", Some(("bob", "difference"))).expect("bob may read");
    let poorer = BOB.replace("{ action: read }", "{ action: read, path: other }");
    reload(&server, &users(&[ADA, &poorer]));
    goes.until_end();
    publisher.send(&frames[1]);
    stays.until(0, 2);
    assert_eq!(expired(&server), 1);
}

#[test]
fn a_plugin_that_is_asked_again_can_end_publishers_and_readers() {
    let server = Server::start(&with_answer("allow-and-recheck"));
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    let reader = Reader::new(&server, "cam1");
    reader.until(0, 1);
    reload(&server, &with_answer("deny-not-allowed"));
    publisher.until_end();
    reader.until_end();
    server.logged(&["cam1", "the permission ran out"]);
}

#[test]
fn a_permit_for_a_while_ends_the_publisher() {
    let server = Server::start(&with_answer("allow-for-a-while"));
    // On a busy machine the end may come before everything is set up.
    if let Ok(mut publisher) = publish(&server, "cam1", None) {
        publisher.until_end();
    }
    until("the publisher is gone", || (expired(&server) == 1).then_some(()));
}

#[test]
fn a_publisher_above_its_bit_rate_is_closed_and_the_reason_is_told_and_counted() {
    let server = Server::start(&with_answer("allow-slowly"));
    let frames = made_up(100, 1, 10_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    // The server closes on the way.
    let _ = frames.iter().try_for_each(|frame| publisher.try_send(frame));
    publisher.until_end();
    server.logged(&["cam1", "code=bitrate", "more than the 1000 bits per second"]);
    server.offline("cam1");
    assert_eq!(
        server.metric("wasmtx_connections_refused_total", &["reason=\"bitrate\""]),
        1.0
    );
}

#[test]
fn a_plugin_that_closes_a_stream_and_an_operator_who_kicks_are_named_in_the_log() {
    let file = plugin("hostile");
    let server = Server::start(&format!(
        "plugins:\n  guard:\n    file: {}\n    config: {{ mode: close, first: 1 }}\npaths:\n  closed:\n    plugins: [guard]\n  kicked:\n",
        file.display()
    ));
    let frames = made_up(5, 1, 100);
    let mut closed = Publisher::vp8(&server, "closed");
    let _ = frames.iter().try_for_each(|frame| closed.try_send(frame));
    closed.until_end();
    server.logged(&["[RTSP] connection closed", "path=closed", "guard"]);

    let mut kicked = Publisher::vp8(&server, "kicked");
    let source = server.online("kicked")["source"]["id"].clone();
    let id = source.as_str().expect("the id of a session");
    let (status, body) = server.ask("POST", &format!("rtspsessions/kick/{id}"));
    assert_eq!(status, 200, "{body}");
    kicked.until_end();
    server.logged(&[
        "[RTSP] connection closed",
        "path=kicked",
        "it was kicked: through the API",
    ]);
}
