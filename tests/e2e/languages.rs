//! Plugins in every language: made by `wasmtx plugin new`, built by `wasmtx plugin build`, passed by their own tests, and
//! then on real streams.

use std::{fs, time::Duration};

use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{
    Codec, Folder, Login, Player, Project, Publisher, Reader, Server, Transport, assert_run, command, made_up, root,
};

/// CPython's largest function has more code than plugins may have unless that is allowed, and a server that is not optimised
/// compiles slowly.
const LIMITS: &str = "limits: { functionSize: 512k, compileTimeout: 300s }";
/// For two components with CPython inside.
const COMPILING: Duration = Duration::from_secs(600);

/// A server that compiles large components before it listens.
#[track_caller]
fn start(folder: Folder, yaml: &str) -> Server {
    let command = command(&folder, yaml);
    Server::launch_within(COMPILING, folder, command)
}

fn publish(server: &Server, path: &str, login: Login<'_>) -> Result<Publisher, String> {
    Publisher::try_new(server, path, login, Kind::Video, MediaCodec::Vp8)
}

fn read(server: &Server, path: &str, login: Login<'_>) -> Result<Reader, String> {
    Reader::open(server.address("rtspAddress"), path, login)
}

/// A filter and an auth plugin as they come out of the templates, but for one line: where `place` is in `file`, the filter
/// throws on the path `broken`.
#[track_caller]
fn drive(language: &'static str, file: &str, place: &str, throw: &str) {
    let folder = Folder::new();
    let filter = Project::new(language, "filter");
    filter.replace(file, place, &format!("{throw}{place}"));
    folder.write("eyes.wasm", filter.build());
    filter.test();
    let auth = Project::new(language, "auth");
    folder.write("door.wasm", auth.build());
    auth.test();
    let server = start(
        folder,
        &format!(
            "plugins:\n  eyes:\n    file: ./eyes.wasm\n    config: {{ keyframes: yes }}\n    {LIMITS}\n  \
             door:\n    file: ./door.wasm\n    config: {{ users: {{ ada: engine }} }}\n    {LIMITS}\n\
             paths:\n  wall:\n    plugins: [eyes]\n  broken:\n    plugins: [eyes]\n  hall:\n    plugins: [door]\n"
        ),
    );

    // FFmpeg publishes, and of its pictures a player gets the keyframes.
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "wall", &clip);
    server.online("wall");
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "wall", 3).hashes();
    let sent = clip.hashes();
    let keyframes: Vec<String> = clip
        .keyframes()
        .into_iter()
        .map(|number| sent[number].clone())
        .collect();
    assert_run(&keyframes, &got, 3);
    server.logged(&["plugin=eyes", "wall has 1 tracks"]);

    // What was thrown is in the log, and the stream goes on without the plugin.
    let frames = made_up(20, 5, 100);
    let mut publisher = Publisher::vp8(&server, "broken");
    let reader = Reader::new(&server, "broken");
    publisher.send_all(&frames);
    reader.until(0, frames.len());
    server.logged(&["plugin=eyes", &format!("boom in {language}")]);

    // Who has the password gets in, in both directions.
    let login = Some(("ada", "engine"));
    let mut publisher = publish(&server, "hall", login).expect("a listed user may publish");
    publisher.send_all(&frames);
    let reader = read(&server, "hall", login).expect("a listed user may watch");
    reader.until(0, 1);
    for stranger in [None, Some(("ada", "enigma")), Some(("alan", "engine"))] {
        for refusal in [
            publish(&server, "hall", stranger).err(),
            read(&server, "hall", stranger).err(),
        ] {
            let refusal = refusal.expect("a stranger stays outside");
            assert!(refusal.contains("401"), "{refusal}");
        }
    }
}

#[test]
fn plugins_in_rust_filter_decide_and_panic() {
    drive(
        "rust",
        "src/lib.rs",
        "info!(\"{} has",
        "assert_ne!(publication.path, \"broken\", \"boom in rust\");\n        ",
    );
}

#[test]
fn plugins_in_javascript_filter_decide_and_throw() {
    drive(
        "js",
        "plugin.js",
        "info(`${publication.path} has",
        "if (publication.path === \"broken\") throw new Error(\"boom in js\");\n    ",
    );
}

#[test]
fn plugins_in_python_filter_decide_and_raise() {
    drive(
        "python",
        "app.py",
        "info(f\"{what.path} has",
        "assert what.path != \"broken\", \"boom in python\"\n        ",
    );
}

#[test]
fn plugins_in_c_filter_decide_and_fail_assertions() {
    drive(
        "c",
        "src/plugin.c",
        "size_t count = publication->tracks.len;",
        "#include <assert.h>\n  assert(publication->path.len != 6 && \"boom in c\");\n  ",
    );
}

#[test]
fn plugins_in_go_filter_decide_and_panic() {
    drive(
        "go",
        "plugin/filter.go",
        "log.Printf(\"%s has",
        "if publication.Path == \"broken\" {\n\t\tpanic(\"boom in go\")\n\t}\n\t",
    );
}

/// The two that every language has are driven above.
#[test]
fn every_role_can_be_begun_in_rust() {
    for role in ["sink", "transcoder", "events", "resolver"] {
        let project = Project::new("rust", role);
        let said = project.test();
        assert!(said.contains("test result: ok"), "{role}: {said}");
        assert!(!project.build().is_empty(), "{role}");
    }
}

/// A server with an example's own configuration and plugin.
fn serve(example: &str, language: &'static str, change: impl Fn(String) -> String) -> Server {
    let project = Project::example(example, language);
    let folder = Folder::new();
    let plugins = folder.file("target").join("plugins");
    fs::create_dir_all(&plugins).expect("a folder of the test");
    fs::write(plugins.join(example).with_extension("wasm"), project.build()).expect("a file of the test");
    project.test();
    let yaml = root().join("examples").join(example).join("mediamtx.yml");
    let yaml = fs::read_to_string(yaml).expect("a configuration");
    let yaml = yaml.replace("limits: { functionSize: 512k }", LIMITS);
    start(folder, &change(yaml))
}

#[test]
fn tokens_in_javascript_open_what_they_are_for() {
    let server = serve("js-tokens", "js", |yaml| yaml);
    let mut publisher = publish(&server, "events/opening?token=for-the-encoder", None).expect("a token for it");
    publisher.send_all(&made_up(1, 1, 100));
    let reader = read(&server, "events/opening?token=for-the-partner", None).expect("a token for it");
    reader.until(0, 1);
    for stranger in [
        "events/opening",
        "events/opening?token=for-the-encoder",
        "events/opening?token=guessed",
    ] {
        assert!(read(&server, stranger, None).is_err(), "{stranger}");
    }
    assert!(publish(&server, "other?token=for-the-partner", None).is_err());
}

#[test]
fn opening_hours_in_go_end_with_the_day() {
    let always = |yaml: String| {
        let all_day = "00:00-23:59";
        let yaml = yaml.replace("07:00-19:00", all_day).replace("09:00-13:00", all_day);
        yaml.replace("sunday: closed", &format!("sunday: {all_day}"))
    };
    let never = |yaml: String| yaml.replace("07:00-19:00", "closed").replace("09:00-13:00", "closed");
    let frames = made_up(1, 1, 100);

    let server = serve("go-hours", "go", never);
    Publisher::vp8(&server, "lobby").send_all(&frames);
    assert!(read(&server, "lobby", None).is_err());

    let server = serve("go-hours", "go", always);
    let mut publisher = Publisher::vp8(&server, "lobby");
    publisher.send_all(&frames);
    Reader::new(&server, "lobby").until(0, 1);
}

#[test]
fn thinning_in_c_keeps_what_others_need() {
    let server = serve("c-thin", "c", |yaml| yaml);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "cam1", 30).hashes();
    // A picture that was predicted from a dropped one would be another picture.
    let sent = clip.hashes();
    assert!(got.iter().all(|picture| sent.contains(picture)), "{got:?} in {sent:?}");
}

#[test]
fn cameras_from_a_table_in_python_are_found_by_name() {
    let camera = Server::start("paths:\n  stream2:\n");
    let address = camera.address("rtspAddress").to_string();
    let server = serve("python-cameras", "python", |yaml| {
        let yaml = yaml.replace("192.0.2.0/24", "127.0.0.1");
        yaml.replace("192.0.2.10", &address)
    });
    // Only now: compiling takes longer than a camera may be silent.
    let mut publisher = Publisher::vp8(&camera, "stream2");
    publisher.send_all(&made_up(1, 1, 100));
    let reader = read(&server, "cam/door/low", None).expect("a camera of the table");
    publisher.send_all(&made_up(1, 1, 100));
    reader.until(0, 1);
    assert!(read(&server, "cam/gate", None).is_err());
}

/// Who begins with an example has what the templates give.
#[test]
fn examples_have_the_helpers_of_the_templates() {
    for (example, language, files) in [
        (
            "js-tokens",
            "js",
            &["wasmtx.js", "test/hooks.js", "test/server.js", ".gitignore"][..],
        ),
        (
            "python-cameras",
            "python",
            &["wasmtx.py", "requirements.txt", ".gitignore"],
        ),
        (
            "c-thin",
            "c",
            &[
                "src/json.c",
                "src/json.h",
                "src/log.c",
                "src/log.h",
                "test/server.c",
                "test/server.h",
                "Makefile",
                ".gitignore",
            ],
        ),
        ("go-hours", "go", &["main.go", "plugin/lifecycle.go", ".gitignore"]),
    ] {
        for file in files {
            let text =
                |directory: &str| fs::read_to_string(root().join(directory).join(file)).expect("a file of the sources");
            let template = text(&format!("plugins/templates/{language}/common")).replace("plugin-name", example);
            assert!(
                text(&format!("examples/{example}")) == template,
                "{example}/{file} is not as in the template"
            );
        }
    }
}
