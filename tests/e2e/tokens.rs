//! The bundled plugin `token-auth`, with players that carry a token in their URL.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{Codec, Player, Publisher, Reader, Server, Tool, Transport, assert_run, made_up};

const SECRET: &str = "a secret that only this test knows";

fn server() -> Server {
    Server::start(&format!(
        "plugins:\n  tokens:\n    file: builtin:token-auth\n    config:\n      secrets: ['{SECRET}']\n      required: yes\n    \
         grant: {{ credentials: yes }}\npathDefaults:\n  plugins: [tokens]\npaths:\n  all_others:\n"
    ))
}

/// A token that is good for so long; the past counts down.
fn token(action: &str, path: &str, seconds: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let text = format!("{}.{action}.{path}", now.saturating_add_signed(seconds));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length of key");
    mac.update(text.as_bytes());
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{text}.{signature}")
}

fn publish(server: &Server, path: &str, token: &str) -> Result<Publisher, String> {
    Publisher::try_new(
        server,
        &format!("{path}?token={token}"),
        None,
        Kind::Video,
        MediaCodec::Vp8,
    )
}

fn read(server: &Server, path: &str, token: &str) -> Result<Reader, String> {
    Reader::open(server.address("rtspAddress"), &format!("{path}?token={token}"), None)
}

#[test]
fn players_get_in_with_a_token() {
    let server = server();
    let clip = Codec::H264.clip();
    let publishing = format!("cam1?token={}", token("publish", "cam1", 3_600));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, &publishing, &clip);
    server.online("cam1");
    let reading = format!("cam1?token={}", token("read", "cam1", 3_600));
    for player in Player::ALL {
        let got = player.read(&server, Transport::Tcp, &reading, 30).hashes();
        assert_run(&clip.hashes(), &got, 30);
    }
}

#[test]
fn players_stay_out_without_a_token() {
    let server = server();
    let clip = Codec::H264.clip();
    let publishing = format!("cam1?token={}", token("publish", "cam1", 3_600));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, &publishing, &clip);
    server.online("cam1");
    for player in Player::ALL {
        let mut reading = player.read(&server, Transport::Tcp, "cam1", 30).tool;
        assert!(!reading.wait().success(), "{player:?} reads without a token");
    }
}

#[test]
fn a_token_is_good_for_what_it_says_and_for_nothing_else() {
    let server = server();
    let mut publisher = publish(&server, "cam1", &token("publish", "cam1", 3_600)).expect("the right token");
    publisher.send_all(&made_up(1, 1, 100));
    read(&server, "cam1", &token("read", "cam1", 3_600)).expect("the right token");
    read(&server, "cam1", &token("read", "cam*", 3_600)).expect("the right token");

    let good = token("read", "cam1", 3_600);
    let forged = good.replace("read", "publish");
    let wrong = [
        ("another action", token("publish", "cam1", 3_600)),
        ("another path", token("read", "cam2", 3_600)),
        ("the past", token("read", "cam1", -10)),
        ("a forged action", forged),
        ("a cut signature", good[..good.len() - 2].to_owned()),
        ("nothing", String::new()),
    ];
    for (what, token) in wrong {
        let reason = read(&server, "cam1", &token).err();
        let reason = reason.unwrap_or_else(|| panic!("a token with {what} lets a reader in"));
        assert!(reason.contains("401") || reason.contains("403"), "{what}: {reason}");
    }
    assert!(
        publish(&server, "cam2", &token("read", "cam2", 3_600)).is_err(),
        "a token for reading publishes"
    );
}

#[test]
fn a_session_ends_when_its_token_does() {
    let server = server();
    let mut publisher = publish(&server, "cam1", &token("publish", "cam1", 3_600)).expect("the right token");
    publisher.send_all(&made_up(1, 1, 100));
    let stays = read(&server, "cam1", &token("read", "cam1", 3_600)).expect("the right token");
    let ends = read(&server, "cam1", &token("read", "cam1", 2)).expect("the right token");
    ends.until_end();
    publisher.send_all(&made_up(2, 1, 100)[1..]);
    stays.until(0, 2);
}

/// Publishes by RTMP, for as long as the server lets it.
fn publish_rtmp(server: &Server, path: &str, token: &str) -> Tool {
    let url = format!("rtmp://{}/{path}?token={token}", server.address("rtmpAddress"));
    let file = Codec::H264.clip().file.to_str().expect("a path of ours").to_owned();
    Tool::start(
        "ffmpeg",
        [
            "-nostdin", "-v", "error", "-re", "-i", &file, "-c", "copy", "-f", "flv", &url,
        ],
    )
}

#[test]
fn a_token_in_the_url_counts_for_rtmp_too() {
    let server = server();
    for wrong in [
        token("read", "cam1", 3_600),
        token("publish", "cam2", 3_600),
        "x".to_owned(),
    ] {
        assert!(!publish_rtmp(&server, "cam1", &wrong).wait().success(), "{wrong}");
    }
    let _publisher = publish_rtmp(&server, "cam1", &token("publish", "cam1", 3_600));
    server.online("cam1");
    let conn = server.api("rtmpconns/list")["items"][0].clone();
    assert_eq!(conn["query"], "token=<redacted>", "{conn}");
    let play = |token: &str| {
        let url = format!("rtmp://{}/cam1?token={token}", server.address("rtmpAddress"));
        let line = [
            "-nostdin",
            "-v",
            "error",
            "-i",
            &url,
            "-c",
            "copy",
            "-frames:v",
            "10",
            "-f",
            "null",
            "-",
        ];
        Tool::start("ffmpeg", line).wait()
    };
    assert!(!play("x").success());
    assert!(play(&token("read", "cam1", 3_600)).success());
}
