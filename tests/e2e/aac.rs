//! Sound that is re-encoded: the bundled plugin `aac`, the program `wasmtx-codec`, and players.

use std::{fs, process::Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Codec, Folder, OPEN, Player, Reader, Server, TONE, Tool, Transport, assert_run, binary, run, until,
};

/// Samples per second of what is listened to.
const RATE: u32 = 48_000;

/// A server with the plugin on the path `live`, and what it says there of it.
fn server(config: &str) -> Server {
    let yaml = format!("paths:\n  live:\n    plugins:\n    - use: builtin:aac\n      config: {config}\n");
    Server::start(&yaml)
}

fn codecs(server: &Server) -> Vec<String> {
    let path = server.online("live");
    let tracks = path["tracks2"].as_array().expect("tracks");
    let names = tracks
        .iter()
        .map(|track| track["codec"].as_str().expect("a codec").to_owned());
    names.collect()
}

/// What the plugin planned for the one track of sound: whether it is done, and whether it is being made.
fn plan(server: &Server) -> (bool, bool) {
    let plugin = server.api("plugins/get/builtin:aac");
    let plan = &plugin["uses"][0]["plan"][0];
    (plan["done"] == true, plan["running"] == true)
}

/// Has FFmpeg listen for two seconds; answers the samples.
fn listen(url: &str, options: &str) -> Vec<f64> {
    let line = format!("-nostdin -v error {options} -i {url} -map 0:a:0 -t 2 -f s16le -ac 1 -ar {RATE} -");
    let samples = run("ffmpeg", line.split_whitespace());
    let samples = samples
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    samples.map(f64::from).collect()
}

/// Asserts that there is the clip's tone in every tenth of a second, and nothing else, once the encoders are under way.
#[track_caller]
fn assert_tone(samples: &[f64]) {
    let tenth = RATE as usize / 10;
    assert!(samples.len() > 10 * tenth, "{} samples came", samples.len());
    for (number, part) in samples.chunks_exact(tenth).enumerate().skip(2) {
        let energy: f64 = part.iter().map(|sample| sample * sample).sum::<f64>();
        // One bin of a Fourier transform: the share of the energy that the tone has.
        let bin = part.iter().enumerate().fold((0.0, 0.0), |(re, im), (at, sample)| {
            let angle = std::f64::consts::TAU * TONE * at as f64 / f64::from(RATE);
            (re + sample * angle.cos(), im + sample * angle.sin())
        });
        let share = 2.0 * (bin.0 * bin.0 + bin.1 * bin.1) / (part.len() as f64 * energy);
        assert!(
            energy > 0.0 && share > 0.9,
            "tenth {number}: {share:.3} of {energy:.0} is the tone"
        );
    }
}

#[test]
fn everybody_gets_aac_in_the_place_of_opus_and_hears_the_same() {
    let server = server("{ mode: replace }");
    let clip = Codec::Tone.clip();
    let _publisher = Player::FFmpeg.publish(&server, Transport::Tcp, "live", &clip);
    assert_eq!(codecs(&server), ["H264", "MPEG-4 Audio"]);
    until("the codec runs", || (plan(&server) == (true, true)).then_some(()));
    assert_tone(&listen(&server.url(Transport::Tcp, "live"), "-rtsp_transport tcp"));
    let reader = Reader::new(&server, "live");
    reader.until(0, 30);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), 30);
}

#[test]
fn all_kinds_of_sound_become_what_is_wanted() {
    const AAC: &str = "MPEG-4 Audio";
    let kinds = [
        ("ulaw", "-c:a pcm_mulaw -ar 8000", "{ mode: replace }", AAC, (8_000, 1)),
        (
            "alaw",
            "-c:a pcm_alaw -ar 8000",
            "{ mode: replace, sampleRate: 16000 }",
            AAC,
            (16_000, 1),
        ),
        (
            "pcm",
            "-c:a pcm_s16be -ar 44100 -ac 2",
            "{ mode: replace, channels: 1 }",
            AAC,
            (44_100, 1),
        ),
        (
            "mp3",
            "-c:a libmp3lame",
            "{ mode: replace, bitrate: 96000 }",
            AAC,
            (48_000, 1),
        ),
        ("aac", "-c:a aac", "{ mode: replace, to: opus }", "Opus", (0, 1)),
    ];
    let paths =
        kinds.map(|(path, _, config, ..)| format!("  {path}:\n    plugins:\n    - use: aac\n      config: {config}\n"));
    let server = Server::start(&format!("paths:\n{}", paths.concat()));
    for (path, encoder, _, codec, (rate, channels)) in kinds {
        let url = server.url(Transport::Tcp, path);
        let tone = format!("sine=frequency={TONE}:sample_rate=48000");
        let line = format!("-nostdin -v warning -re -f lavfi -i {tone} {encoder} -f rtsp -rtsp_transport tcp {url}");
        let _publisher = Tool::start("ffmpeg", line.split_whitespace());
        // What the description does not say of MP3 is known with the first frame.
        until(path, || {
            let tracks = server.path(path)?["tracks2"].as_array()?.clone();
            let is_wanted = |track: &serde_json::Value| {
                let properties = &track["codecProps"];
                track["codec"] == codec
                    && properties["channelCount"] == channels
                    && (rate == 0 || properties["sampleRate"] == rate)
            };
            tracks.iter().any(is_wanted).then_some(())
        });
        assert_tone(&listen(&url, "-rtsp_transport tcp"));
    }
}

#[test]
fn a_codec_runs_from_the_first_player_that_needs_it_to_a_while_after_the_last() {
    let server = server("{ mode: add }");
    let _publisher = Player::FFmpeg.publish(&server, Transport::Tcp, "live", &Codec::Tone.clip());
    assert_eq!(codecs(&server), ["H264", "Opus", "MPEG-4 Audio"]);
    let reader = Reader::new(&server, "live");
    let heard: Vec<_> = reader.tracks.iter().map(|track| track.codec.name()).collect();
    assert_eq!(heard, ["H264", "Opus"], "RTSP carries what is sent");
    reader.until(1, 20);
    assert_eq!(plan(&server), (true, false));

    let url = format!("rtmp://{}/live", server.address("rtmpAddress"));
    let mut player = {
        let line = format!("-nostdin -v warning -i {url} -c copy -f null -");
        Tool::start("ffmpeg", line.split_whitespace())
    };
    until("the codec runs", || plan(&server).1.then_some(()));
    assert_tone(&listen(&url, ""));
    let web = format!("http://{}/live.flv", server.address("flvAddress"));
    assert_tone(&listen(&web, ""));
    assert_eq!(server.metric("wasmtx_conversions_running", &["path=\"live\""]), 1.0);
    player.kill();
    until("the codec stops", || (!plan(&server).1).then_some(()));
    assert_eq!(server.metric("wasmtx_conversions_begun_total", &["path=\"live\""]), 1.0);
    assert!(server.path("live").is_some_and(|path| path["available"] == true));
}

/// The process that re-encodes for a server.
fn worker(server: &Server) -> Option<Pid> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_worker = |id: &i32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        field("Name:") == Some("wasmtx-codec") && field("PPid:") == Some(&server.id().to_string())
    };
    ids.filter(is_worker).find_map(Pid::from_raw)
}

#[test]
fn a_codec_that_is_killed_costs_some_sound_and_no_picture() {
    let server = server("{ mode: replace }");
    let clip = Codec::Tone.clip();
    let _publisher = Player::FFmpeg.publish(&server, Transport::Tcp, "live", &clip);
    server.online("live");
    let reader = Reader::new(&server, "live");
    reader.until(1, 20);
    let worker = until("the worker", || worker(&server));
    kill_process(worker, Signal::KILL).expect("a child of the server");
    until("another worker", || {
        (server.metric("wasmtx_conversion_restarts_total", &[]) >= 1.0).then_some(())
    });
    let (pictures, sound) = (reader.count(0), reader.count(1));
    reader.until(1, sound + 50);
    reader.until(0, pictures + 25);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), pictures + 25);
    assert_eq!(reader.faults(), 0);
    assert!(reader.frames(1).is_sorted_by_key(|frame| frame.pts));
}

#[test]
fn without_the_program_that_re_encodes_a_server_runs_and_refuses_what_needs_it() {
    let beside = binary().with_file_name(format!("alone-{}", std::process::id()));
    fs::create_dir_all(&beside).expect("a folder");
    let alone = beside.join("wasmtx");
    fs::hard_link(binary(), &alone).expect("a second name for the server");
    let folder = Folder::new();
    folder.write("mediamtx.yml", "paths:\n  live:\n    plugins: [builtin:aac]\n");
    folder.write("plain.yml", OPEN);
    let check = |file: &str| {
        let mut command = Command::new(&alone);
        command.args(["check", file]).current_dir(folder.path());
        let output = command.output().expect("the server starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (plain, refused) = (check("plain.yml"), check("mediamtx.yml"));
    fs::remove_dir_all(&beside).expect("the folder goes");
    assert!(plain.0, "{}", plain.1);
    assert!(!refused.0);
    let lines: Vec<_> = refused.1.trim().lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("wasmtx-codec") && lines[0].contains("paths.live.plugins"),
        "{lines:?}"
    );
}
