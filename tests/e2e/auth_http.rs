//! Auth plugins that ask a service: only who asked waits for its answer.

use crate::harness::{Backend, Codec, Player, Publisher, Reader, Reply, Server, Transport, made_up, plugin, until};

fn asking(backend: &Backend, limits: &str) -> Server {
    Server::start(&format!(
        "plugins:
  gate:
    file: {}
    config: {{ url: '{}', timeout: 60000 }}
    grant: {{ http: ['{}'] }}
    limits: {{ {limits} }}
paths:
  all_others:
    plugins: [gate]
",
        plugin("auth-http").display(),
        backend.url("/check"),
        backend.host(),
    ))
}

#[test]
fn the_service_decides_for_real_players() {
    let backend = Backend::start(|_, asked| Reply::Now(if asked["path"] == "cam1" { 200 } else { 403 }, String::new()));
    let server = asking(&backend, "");
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    assert!(
        !Player::FFmpeg
            .read(&server, Transport::Tcp, "cam1", 10)
            .hashes()
            .is_empty()
    );
    let mut refused = Player::FFmpeg.publish(&server, Transport::Tcp, "cam2", &clip);
    assert!(!refused.wait().success());
    assert!(server.path("cam2").is_none());
    let actions: Vec<_> = backend.asked().iter().map(|asked| asked["action"].clone()).collect();
    assert!(
        actions.contains(&"publish".into()) && actions.contains(&"read".into()),
        "{actions:?}"
    );
}

#[test]
fn a_slow_answer_delays_only_its_own_client_while_a_hundred_others_log_in() {
    let backend = Backend::start(|_, asked| match asked["path"].as_str() {
        Some("slow") => Reply::Held,
        _ => Reply::Now(200, String::new()),
    });
    let server = asking(&backend, "authTimeout: 60s");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let frames = made_up(1_000, 10, 100);
    publisher.send_all(&frames[..20]);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| Publisher::vp8(&server, "slow"));
        let slow_is_asked = || {
            backend
                .asked()
                .iter()
                .any(|asked| asked["path"] == "slow")
                .then_some(())
        };
        until("the slow one is asked for", slow_is_asked);
        let logins: Vec<_> = (0..100).map(|_| scope.spawn(|| Reader::new(&server, "cam1"))).collect();
        let readers: Vec<_> = logins
            .into_iter()
            .map(|login| login.join().expect("it gets in"))
            .collect();
        assert!(!slow.is_finished());
        publisher.send_all(&frames[20..40]);
        readers.iter().for_each(|reader| reader.until(0, 20));
        backend.release();
        slow.join().expect("it gets in at last");
    });
}

#[test]
fn without_an_answer_nobody_gets_in_and_the_plugin_is_not_blamed() {
    let backend = Backend::start(|_, _| Reply::Held);
    let server = asking(&backend, "authTimeout: 300ms");
    for _ in 0..10 {
        let refused = Reader::open(server.address("rtspAddress"), "cam1", None);
        assert!(refused.is_err());
    }
    backend.release();
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(3, 1, 100));
    server.online("cam1");
}
