//! `wasmtx plugin …`: what somebody who writes or runs plugins types, without a server and towards one.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process,
};

use serde_json::Value as Json;

use crate::harness::{Codec, Folder, Server, binary, decoded_hashes, hashes_of, plugin, run};

/// A component that imports an interface of WASI and nothing else.
const WITH_WASI: &[u8] = b"\0asm\r\0\x01\0\x07\x03\x01B\0\n\x1f\x01\0\x1awasi:cli/environment@0.2.0\x05\0";

/// What the program answered to its arguments.
struct Answer {
    code: Option<i32>,
    output: String,
    /// Standard error.
    said: String,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.output, self.said);
        self.output
    }

    #[track_caller]
    fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.output, self.said);
        for word in words {
            assert!(self.said.contains(word), "{word:?} is not in\n{}", self.said);
        }
    }
}

/// Runs `wasmtx plugin` to its end, in a folder.
fn wasmtx<A: AsRef<OsStr>>(folder: &Folder, arguments: impl IntoIterator<Item = A>) -> Answer {
    let mut command = process::Command::new(binary());
    command.arg("plugin").args(arguments).current_dir(folder.path());
    command.env_remove("WASMTX_PASSWORD").env_remove("WASMTX_TOKEN");
    let output = command.output().expect("the program starts");
    Answer {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn guest(name: &str) -> String {
    plugin(name).to_str().expect("a path of ours").to_owned()
}

/// A clip as an MP4 file, plain or in fragments.
fn mp4(folder: &Folder, codec: Codec, fragments: bool) -> PathBuf {
    let file = folder.file(&format!("{codec:?}-{fragments}.mp4"));
    let clip = codec.clip();
    let flags = if fragments {
        "frag_keyframe+delay_moov+default_base_moof"
    } else {
        "faststart"
    };
    let line = ["-v", "error", "-y", "-i"]
        .map(OsStr::new)
        .into_iter()
        .chain([clip.file.as_os_str()]);
    let line = line.chain(["-c", "copy", "-movflags", flags].map(OsStr::new));
    run("ffmpeg", line.chain([file.as_os_str()]));
    file
}

/// The packets of a file by these of their entries, sorted, because files interleave as they like.
fn packets(file: &Path, entries: &[&str]) -> Vec<String> {
    let line = [
        "-v",
        "error",
        "-show_packets",
        "-show_data_hash",
        "sha256",
        "-of",
        "json",
    ]
    .map(OsStr::new);
    let output = run("ffprobe", line.into_iter().chain([file.as_os_str()]));
    let json: Json = serde_json::from_slice(&output).expect("JSON");
    let packet = |packet: &Json| {
        entries
            .iter()
            .map(|entry| packet[entry].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut packets: Vec<_> = json["packets"]
        .as_array()
        .expect("packets")
        .iter()
        .map(packet)
        .collect();
    packets.sort();
    packets
}

/// Two lists are equal; of lists that are not, only the first difference is shown.
#[track_caller]
fn assert_same(before: &[String], after: &[String], what: &str) {
    let differs = before.iter().zip(after).find(|(before, after)| before != after);
    assert_eq!(differs, None, "{what}");
    assert_eq!(before.len(), after.len(), "{what}");
}

fn lines(folder: &Folder, name: &str) -> Vec<Json> {
    let text = folder.read(name);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

#[test]
fn a_plugin_that_passes_everything_gives_back_the_clip_frame_for_frame() {
    let folder = Folder::new();
    for (codec, fragments) in [
        (Codec::H264, false),
        (Codec::Both, true),
        (Codec::H265, false),
        (Codec::Av1, false),
        (Codec::Vp9, true),
        (Codec::Aac, false),
        (Codec::Opus, true),
    ] {
        let clip = mp4(&folder, codec, fragments);
        let out = folder.file("out.mp4");
        let arguments = [
            "run",
            &guest("pass"),
            "--input",
            clip.to_str().unwrap(),
            "--output",
            "out.mp4",
        ];
        wasmtx(&folder, arguments).ok();
        let what = format!("{codec:?}, fragments: {fragments}");
        let entries = match codec {
            // The parameter sets in band have gone into the header.
            Codec::H264 | Codec::H265 | Codec::Both | Codec::Tone => &["stream_index", "pts_time", "dts_time"][..],
            _ => &["stream_index", "pts_time", "dts_time", "data_hash"],
        };
        let before = packets(&clip, entries);
        assert!(before.len() >= 40, "{what}");
        assert_same(&before, &packets(&out, entries), &what);
        assert_same(&hashes_of(&clip, codec), &hashes_of(&out, codec), &what);
        if !matches!(codec, Codec::Aac | Codec::Opus) {
            assert_same(&decoded_hashes(&clip), &decoded_hashes(&out), &what);
        }
    }
}

#[test]
fn verdicts_are_summed_up_and_listed_and_what_is_left_plays() {
    let folder = Folder::new();
    let clip = mp4(&folder, Codec::Both, false);
    let answer = wasmtx(
        &folder,
        [
            "run",
            "builtin:keyframes-only",
            "--input",
            clip.to_str().unwrap(),
            "--output",
            "keys.mp4",
            "--verdicts",
            "verdicts.jsonl",
        ],
    );
    let shown = answer.ok();
    let keys = Codec::Both.clip().keyframes().len();
    assert!(
        shown.contains(&format!("pass {keys}")) && shown.contains("taken out"),
        "{shown}"
    );
    let verdicts = lines(&folder, "verdicts.jsonl");
    let of = |track: u32, verdict: &str| {
        let is_it = |line: &&Json| line["track"] == track && line["verdict"] == verdict;
        verdicts.iter().filter(is_it).count()
    };
    assert_eq!(of(1, "pass"), keys);
    assert_eq!(of(1, "unseen") + keys, Codec::Both.clip().packets().len());
    assert_eq!(decoded_hashes(&folder.file("keys.mp4")).len(), keys);
}

#[test]
fn a_plugin_that_fails_is_told_apart_from_one_that_drops() {
    let folder = Folder::new();
    let clip = mp4(&folder, Codec::H264, false);
    let arguments = [
        "run",
        &guest("hostile"),
        "--config",
        r#"{"mode": "trap"}"#,
        "--input",
        clip.to_str().unwrap(),
        "--verdicts",
        "verdicts.jsonl",
    ];
    let answer = wasmtx(&folder, arguments);
    assert!(answer.output.contains("traps"), "{}", answer.output);
    answer.failed(&["panicked", "hostile"]);
    assert_eq!(lines(&folder, "verdicts.jsonl")[0]["verdict"], "failed");
}

#[test]
fn a_clip_that_was_cut_off_is_used_as_far_as_it_goes() {
    let folder = Folder::new();
    let clip = fs::read(mp4(&folder, Codec::H264, false)).unwrap();
    folder.write("cut.mp4", &clip[..clip.len() / 2]);
    let arguments = ["run", &guest("pass"), "--input", "cut.mp4", "--output", "out.mp4"];
    let shown = wasmtx(&folder, arguments).ok();
    assert!(shown.contains("cut off"), "{shown}");
    let left = decoded_hashes(&folder.file("out.mp4")).len();
    assert!(left > 50 && left < Codec::H264.clip().packets().len(), "{left}");
}

#[test]
fn what_cannot_be_run_is_said_with_what_to_do() {
    let folder = Folder::new();
    folder.write("notes.txt", "plugins:\n");
    folder.write("wasi.wasm", WITH_WASI);
    folder.write(
        "noise.mp4",
        b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x10moovnonsense",
    );
    folder.write("own.yml", "plugins:\n  other: { file: ./other.wasm }\n");
    let pass = guest("pass");
    for (arguments, words) in [
        (&["check", "missing.wasm"][..], &["missing.wasm", "No such file"][..]),
        (&["check", "notes.txt"], &["no WebAssembly component"]),
        (&["check", "wasi.wasm"], &["wasi:cli/environment", "--stub-wasi"]),
        (&["check", "builtin:door"], &["no bundled plugin", "keyframes-only"]),
        (&["check", "builtin:token-auth"], &["secrets", "--config"]),
        (
            &["check", "builtin:token-auth", "--config", r#"{"secrets": ["short"]}"#],
            &["/secrets/0", "16 bytes"],
        ),
        (&["check", &pass, "--config", "{"], &["--config", "not JSON"]),
        (&["check", &pass, "--config", "missing.yml"], &["missing.yml"]),
        (
            &["check", &pass, "--config", "own.yml"],
            &["own.yml", "--name", "other"],
        ),
        (&["check", &pass, "--grant", "everything"], &["everything"]),
        (&["check", &pass, "--grant", "http"], &["http=…"]),
        (&["inspect", "notes.txt"], &["no WebAssembly component"]),
        (&["run", &pass], &["--input clip.mp4"]),
        (
            &["run", &pass, "--input", "missing.mp4"],
            &["missing.mp4", "No such file"],
        ),
        (&["run", &pass, "--input", "notes.txt"], &["no MP4", "ffmpeg"]),
        (&["run", &pass, "--input", "noise.mp4"], &["no MP4"]),
        (&["run", &pass, "--request", "{}"], &["for auth plugins", "filter"]),
        (&["run", &pass, "--event", "{}"], &["for events plugins", "filter"]),
        (
            &["bench", &guest("sink-modes"), "--config", r#"{"mode": "take"}"#],
            &["sink"],
        ),
        (&["push", &pass, "pass", "--api", "ftp://127.0.0.1"], &["no http://"]),
        (
            &["push", &pass, "pass", "--api", "http://127.0.0.1:1"],
            &["Is the server running"],
        ),
        (&["push", "notes.txt", "pass"], &["no WebAssembly component"]),
    ] {
        wasmtx(&folder, arguments).failed(words);
    }
    let answer = wasmtx(&folder, ["brew", "coffee.wasm"]);
    assert_eq!(answer.code, Some(2), "{}", answer.said);
}

#[test]
fn the_entry_that_check_prints_is_one_that_the_server_takes() {
    let folder = Folder::new();
    fs::copy(plugin("auth-http"), folder.file("auth-http.wasm")).unwrap();
    let arguments = [
        "check",
        "auth-http.wasm",
        "--config",
        r#"{"url": "https://service.example/", "timeout": 100}"#,
    ];
    let shown = wasmtx(&folder, arguments).ok();
    assert!(shown.contains("not granted http"), "{shown}");
    let (_, yaml) = shown.split_once("In mediamtx.yml:\n").expect("an entry to paste");
    folder.write("mediamtx.yml", yaml);
    let mut check = process::Command::new(binary());
    let checked = check
        .args(["check", "mediamtx.yml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{yaml}{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    // The file that it was pasted into is one that check takes, too.
    let shown = wasmtx(&folder, ["check", "auth-http.wasm", "--config", "mediamtx.yml"]).ok();
    assert!(
        shown.contains("plugins.auth-http") && !shown.contains("not granted"),
        "{shown}"
    );
}

#[test]
fn every_use_in_a_configuration_is_checked_and_a_path_names_the_one_to_run() {
    let folder = Folder::new();
    let yaml = |key: &str| {
        format!(
            "plugins:\n  tokens: {{ file: 'builtin:token-auth', config: {{ secrets: [aaaaaaaaaaaaaaaa] }} }}\npaths:\n  \
             cam1: {{ plugins: [tokens] }}\n  cam2: {{ plugins: [{{ use: tokens, config: {{ secrets: [{key}], required: yes \
             }} }}] }}\n"
        )
    };
    folder.write("good.yml", yaml("bbbbbbbbbbbbbbbb"));
    folder.write("bad.yml", yaml("b"));
    let arguments = |name: &'static str| ["check", "builtin:token-auth", "--config", name];
    assert!(wasmtx(&folder, arguments("good.yml")).ok().contains("2 different uses"));
    wasmtx(&folder, arguments("bad.yml")).failed(&["/secrets/0", "bad.yml: plugins.tokens"]);
    for (path, verdict) in [("cam1", "abstain"), ("cam2", "deny, credentials")] {
        let arguments = [
            "run",
            "builtin:token-auth",
            "--config",
            "good.yml",
            "--path",
            path,
            "--request",
            "{}",
        ];
        let shown = wasmtx(&folder, arguments).ok();
        assert!(shown.contains(verdict), "{path}: {shown}");
    }
}

#[test]
fn an_auth_plugin_answers_requests_from_a_list() {
    let folder = Folder::new();
    let token = token("4000000000.read.cam1");
    folder.write(
        "requests.json",
        format!(
            r#"[{{"action": "read", "path": "cam1", "query": "token={token}"}}, {{"action": "publish", "path": "cam1", "query": "token={token}"}}, {{"path": "cam1"}}]"#
        ),
    );
    let answer = wasmtx(
        &folder,
        [
            "run",
            "builtin:token-auth",
            "--config",
            r#"{"secrets": ["a secret of the tests"]}"#,
            "--grant",
            "credentials",
            "--request",
            "requests.json",
            "--verdicts",
            "verdicts.jsonl",
        ],
    );
    answer.ok();
    let verdicts: Vec<_> = lines(&folder, "verdicts.jsonl")
        .iter()
        .map(|line| line["verdict"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(verdicts, ["allow", "deny", "abstain"]);
}

/// What token-auth takes, signed with the tests' secret.
fn token(claim: &str) -> String {
    use hmac::{Hmac, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a secret of the tests").unwrap();
    mac.update(claim.as_bytes());
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{claim}.{signature}")
}

#[test]
fn an_events_plugin_is_told_what_a_server_would_show() {
    let folder = Folder::new();
    folder.write(
        "events.jsonl",
        "{\"kind\": \"online\", \"path\": \"cam1\"}\n{\"kind\": \"offline\", \"path\": \"cam1\", \"reason\": \"timeout\"}\n",
    );
    let config = r#"{"mode": "raise"}"#;
    let arguments = [
        "run",
        &guest("events-modes"),
        "--config",
        config,
        "--event",
        "events.jsonl",
    ];
    let shown = wasmtx(&folder, arguments).ok();
    assert_eq!(shown.matches("it raises seen").count(), 2, "{shown}");
    let arguments = [
        "run",
        &guest("events-modes"),
        "--config",
        r#"{"mode": "trap"}"#,
        "--event",
        "events.jsonl",
    ];
    wasmtx(&folder, arguments).failed(&["online is not to my liking"]);
}

#[test]
fn a_component_is_shown_as_what_it_is() {
    let folder = Folder::new();
    let pass = guest("pass");
    let json: Json = serde_json::from_str(&wasmtx(&folder, ["inspect", &pass, "--json"]).ok()).unwrap();
    let size = fs::metadata(&pass).unwrap().len();
    assert_eq!(
        (&json["size"], &json["roles"]),
        (&Json::from(size), &serde_json::json!(["filter"]))
    );
    assert!(json["compiledSize"].as_u64().unwrap() > 0 && json["refused"].is_null());
    folder.write("wasi.wasm", WITH_WASI);
    let shown = wasmtx(&folder, ["inspect", "wasi.wasm"]).ok();
    assert!(
        shown.contains("refused") && shown.contains("wasi:cli/environment@0.2.0"),
        "{shown}"
    );
}

#[test]
fn a_plugin_is_measured_beside_a_native_filter() {
    let folder = Folder::new();
    let clip = mp4(&folder, Codec::H264, false);
    let measured = |more: &[&str]| -> Json {
        let pass = guest("pass");
        let arguments = ["bench", &pass, "--json", "--seconds", "1"]
            .into_iter()
            .chain(more.iter().copied());
        serde_json::from_str(&wasmtx(&folder, arguments).ok()).unwrap()
    };
    for more in [&[][..], &["--input", clip.to_str().unwrap(), "--paths", "1"]] {
        let json = measured(more);
        let rows: Vec<_> = json["nanos"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["what"].as_str().unwrap())
            .collect();
        assert!(
            rows.iter().any(|row| row.contains("native")) && rows.iter().any(|row| row.contains("sees")),
            "{rows:?}"
        );
        for key in ["coreShare", "budgetShare"] {
            assert!(json[key].as_f64().unwrap() > 0.0, "{key}: {json}");
        }
        assert!(json["memory"].as_i64().unwrap() > 0, "{json}");
    }
    let trap = [
        "bench",
        &guest("hostile"),
        "--config",
        r#"{"mode": "trap"}"#,
        "--seconds",
        "1",
    ];
    let answer = wasmtx(&folder, trap);
    assert_eq!(answer.code, Some(1));
    assert!(answer.output.contains("it failed"), "{}", answer.output);
}

#[test]
fn a_component_is_pushed_to_a_running_server_which_may_refuse_it() {
    let folder = Folder::new();
    fs::copy(plugin("pass"), folder.file("own.wasm")).unwrap();
    folder.write("wasi.wasm", WITH_WASI);
    let yaml = "plugins:\n  own: { file: ./own.wasm }\nauthInternalUsers:\n  - { user: admin, pass: secret, permissions: [{ \
                action: api }, { action: plugins }] }\npaths:\n  cam1: { plugins: [own] }\n";
    let server = Server::start_in(folder, yaml, &[]);
    let folder = server.folder();
    let api = format!("http://{}", server.address("apiAddress"));
    let push = |file: &str, name: &str, more: &[&str]| {
        let arguments = ["push", file, name, "--api", &api]
            .into_iter()
            .chain(more.iter().copied());
        wasmtx(folder, arguments)
    };
    let who = ["--user", "admin", "--pass", "secret"];
    push("builtin:drop-audio", "own", &[]).failed(&["--user", "--token"]);
    push("builtin:drop-audio", "own", &["--user", "admin", "--pass", "guess"]).failed(&["--user"]);
    push("builtin:drop-audio", "other", &who).failed(&["no plugin \"other\"", "mediamtx.yml"]);
    push("builtin:token-auth", "own", &who).failed(&["stays", "filter"]);
    push("wasi.wasm", "own", &who).failed(&["stays", "wasi:cli/environment"]);
    assert!(push(&guest("pass"), "own", &who).ok().contains("runs already"));
    let shown = push("builtin:drop-audio", "own", &who).ok();
    assert!(shown.contains("took over"), "{shown}");
    assert!(push("builtin:drop-audio", "own", &who).ok().contains("runs already"));
}
