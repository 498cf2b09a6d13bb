//! The newest keyframe of a stream as JPEG, as FFmpeg sees it.

use std::path::Path;

use crate::harness::{Clip, Codec, OPEN, Player, Server, Transport, run, until};

/// The grey pixels of every picture of a file, or of a URL, at a small size.
fn pictures(input: &str, filter: &str) -> Vec<Vec<u8>> {
    let filter = format!("{filter}scale=32:18:flags=area,format=gray");
    let line = [
        "-v",
        "error",
        "-i",
        input,
        "-vf",
        &filter,
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-",
    ];
    run("ffmpeg", line).chunks(32 * 18).map(<[u8]>::to_vec).collect()
}

/// The keyframes of a clip, small and grey.
fn keyframes(clip: &Clip) -> Vec<Vec<u8>> {
    pictures(clip.file.to_str().expect("a path of ours"), "select=key,")
}

/// How far two pictures are from each other, pixel by pixel.
fn distance(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let sum: u32 = one.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / one.len() as f64
}

#[test]
fn a_snapshot_shows_a_keyframe_of_what_is_published() {
    for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9] {
        let server = Server::start(OPEN);
        let clip = codec.clip();
        let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "yard/cam1", &clip);
        server.online("yard/cam1");
        let url = format!("http://{}/snapshot/yard/cam1.jpg", server.address("flvAddress"));
        let shown = &pictures(&url, "")[0];
        let nearest = keyframes(&clip)
            .iter()
            .map(|key| distance(key, shown))
            .fold(f64::MAX, f64::min);
        assert!(nearest < 6.0, "{codec:?}: {nearest}");
    }
}

#[test]
fn a_snapshot_has_the_size_that_is_asked_for_and_says_why_there_is_none() {
    let server = Server::start(OPEN);
    let address = server.address("flvAddress");
    let ask = |target: &str| {
        let line = [
            "-s",
            "-o",
            "-",
            "-w",
            "%{http_code}",
            &format!("http://{address}/snapshot/{target}"),
        ];
        String::from_utf8_lossy(&run("curl", line)).into_owned()
    };
    assert_eq!(ask("cam1.jpg"), "nothing is published on this path404");
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    assert!(ask("cam1.jpg?width=x").ends_with("from 16 to 8192400"));
    let url = format!("http://{address}/snapshot/cam1.jpg?width=64");
    let line = [
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name,width",
        "-of",
        "csv=p=0",
        &url,
    ];
    assert_eq!(String::from_utf8_lossy(&run("ffprobe", line)).trim(), "mjpeg,64");
}

#[test]
fn only_who_may_read_is_shown_anything() {
    let server = Server::start(
        "authInternalUsers:\n- {user: any, permissions: [{action: publish}, {action: api}, {action: metrics}]}\n\
         - {user: ada, pass: secret, permissions: [{action: read, path: cam1}]}\npaths:\n  all_others:\n",
    );
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    let address = server.address("flvAddress");
    let status = |login: &str, name: &str| {
        let url = format!("http://{address}/snapshot/{name}.jpg");
        let line = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", login, &url];
        String::from_utf8_lossy(&run("curl", line)).into_owned()
    };
    assert_eq!(status("ada:secret", "cam1"), "200");
    assert_eq!(status("ada:wrong", "cam1"), "401");
    assert_eq!(status("ada:secret", "cam2"), "403");
}

#[test]
fn a_worker_that_is_killed_costs_one_picture_at_most() {
    let server = Server::start(OPEN);
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    let source = server.online("cam1")["source"].clone();
    let url = format!("http://{}/snapshot/cam1.jpg?width=", server.address("flvAddress"));
    let status = |width: usize| {
        let line = ["-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("{url}{width}")];
        String::from_utf8_lossy(&run("curl", line)).into_owned()
    };
    assert_eq!(status(100), "200");
    for width in [101, 103, 105] {
        for worker in children(server.id()) {
            let id = i32::try_from(worker).ok().and_then(rustix::process::Pid::from_raw);
            // It may have left by itself.
            let _ = rustix::process::kill_process(id.expect("a process id"), rustix::process::Signal::KILL);
        }
        let answer = status(width);
        assert!(answer == "200" || answer == "503", "{answer}");
        until("there are pictures again", || {
            (status(width + 1) == "200").then_some(())
        });
    }
    assert_eq!(server.path("cam1").expect("a path")["source"], source);
}

/// The workers of a server.
fn children(server: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|id| {
            let stat =
                std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).unwrap_or_default();
            let Some((name, rest)) = stat.rsplit_once(") ") else {
                return false;
            };
            name.contains("wasmtx-codec") && rest.split(' ').nth(1) == Some(&server.to_string())
        })
        .collect()
}
