//! What an operator types, reads and changes: the command line, the log, the configuration file.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process,
};

use rustix::process::Signal;

use wasmtx_media::{Codec, Kind};

use crate::harness::{Folder, OPEN, Publisher, Reader, Server, Session, binary, command, made_up, number_of, until};

/// What the program answered to its arguments.
struct Answer {
    code: Option<i32>,
    output: String,
    /// Standard error.
    said: String,
}

/// Runs the program to its end, in a folder whose mediamtx.yml says `yaml`.
fn wasmtx(yaml: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
    let folder = Folder::new();
    folder.write("mediamtx.yml", yaml);
    let mut command = process::Command::new(binary());
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(folder.path());
    let output = command.output().expect("the server starts");
    Answer {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn the_version_is_told() {
    let answer = wasmtx(OPEN, &["--version"], &[]);
    assert_eq!(answer.code, Some(0));
    assert_eq!(answer.output.trim(), concat!("wasmtx ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_what_can_be_typed() {
    let answer = wasmtx(OPEN, &["--help"], &[]);
    assert_eq!(answer.code, Some(0));
    for word in ["wasmtx [FILE]", "check", "--version", "mediamtx.yml"] {
        assert!(answer.output.contains(word), "{word} is not in\n{}", answer.output);
    }
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    for arguments in [&["--prot", "8554"][..], &["one.yml", "two.yml"]] {
        let answer = wasmtx(OPEN, arguments, &[]);
        assert_eq!(answer.code, Some(2), "{arguments:?}");
        assert!(answer.said.contains("--help"), "{}", answer.said);
    }
}

#[test]
fn a_good_configuration_is_ok() {
    let answer = wasmtx("paths:\n  cam1:\n    maxReaders: 3\n", &["check", "mediamtx.yml"], &[]);
    assert_eq!(
        (answer.code, answer.output.as_str()),
        (Some(0), "ok\n"),
        "{}",
        answer.said
    );
}

#[test]
fn every_error_is_told_with_its_place_and_the_key_that_was_meant() {
    let yaml = "readTimeout: 10\npaths:\n  cam1:\n    maxReadres: 3\n";
    let expected = [
        "mediamtx.yml:1:14: readTimeout: expected a duration",
        "mediamtx.yml:4:5: paths.cam1.maxReadres: unknown key, did you mean `maxReaders`?",
    ];
    // Without a name, the file of the working directory is meant.
    for arguments in [&["check", "mediamtx.yml"][..], &["check"], &["mediamtx.yml"], &[]] {
        let answer = wasmtx(yaml, arguments, &[]);
        assert_eq!(answer.code, Some(1), "{arguments:?}");
        let lines: Vec<&str> = answer.said.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{}", answer.said);
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
    }
}

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let answer = wasmtx(OPEN, &["check", "mediamtx.yml"], &[("MTX_READTIMEOUT", "soon")]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.said.contains("MTX_READTIMEOUT"), "{}", answer.said);
}

#[test]
fn a_file_that_is_not_there_ends_the_server() {
    for arguments in [&["check", "elsewhere.yml"][..], &["elsewhere.yml"]] {
        let answer = wasmtx(OPEN, arguments, &[]);
        assert_eq!(answer.code, Some(1), "{arguments:?}");
        assert_eq!(answer.said.trim(), "elsewhere.yml: there is no such file");
    }
}

#[test]
fn an_address_in_use_is_told_with_its_key_and_its_holder() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    let holder = process::id();
    for (key, variable) in [
        ("rtspAddress", "MTX_RTSPADDRESS"),
        ("rtspsAddress", "MTX_RTSPSADDRESS"),
        ("flvAddress", "MTX_FLVADDRESS"),
        ("rtmpAddress", "MTX_RTMPADDRESS"),
        ("rtmpsAddress", "MTX_RTMPSADDRESS"),
        ("apiAddress", "MTX_APIADDRESS"),
        ("metricsAddress", "MTX_METRICSADDRESS"),
    ] {
        let folder = Folder::new();
        let output = command(&folder, OPEN)
            .env(variable, &address)
            .output()
            .expect("the server starts");
        assert_eq!(output.status.code(), Some(1), "{key}");
        let log = String::from_utf8_lossy(&output.stdout);
        let sentence = format!("{key}: address {address} is in use by ");
        let line = log
            .lines()
            .find(|line| line.contains(&sentence))
            .unwrap_or_else(|| panic!("{key}\n{log}"));
        assert!(line.ends_with(&format!("(process {holder})")), "{line}");
    }
}

#[test]
fn keys_without_effect_are_named_in_one_warning() {
    let server = Server::start("pprof: yes\npaths:\n  cam1:\n    runOnRead: ./seen.sh\n");
    let line = server.logged(&["not built yet"]);
    for key in ["pprof", "paths.cam1.runOnRead"] {
        assert!(line.contains(key), "{key} is not in: {line}");
    }
    assert_eq!(server.log().matches("not built yet").count(), 1);
}

#[test]
fn a_port_that_the_system_chose_is_told() {
    let server = Server::start(OPEN);
    for key in ["rtspAddress", "rtspsAddress", "apiAddress", "metricsAddress"] {
        TcpStream::connect(server.address(key)).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

/// Whether a process is there that still does something.
fn runs(process: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    // proc(5): the state follows the name in parentheses.
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Stops a server that has a publisher, readers and a command to end.
fn check_stop(signal: Signal) {
    let server =
        Server::start("paths:\n  cam1:\n    runOnInit: sh -c 'echo $$ > command; exec sleep 1000'\n  all_others:\n");
    let command = until("the command runs", || {
        server.folder().read("command").strip_suffix('\n').map(str::to_owned)
    });
    assert!(runs(&command));
    let mut publisher = Publisher::vp8(&server, "cam2");
    publisher.send_all(&made_up(2, 2, 100));
    let reader = Reader::new(&server, "cam2");
    reader.until(0, 2);
    // One that takes nothing, and one that says nothing.
    let (_stalled, _) = Session::play(server.address("rtspAddress"), "cam2", None).expect("a second reader");
    let _silent = TcpStream::connect(server.address("rtspAddress")).expect("a connection");

    let outcome = server.stop(signal);
    assert!(outcome.status.success(), "{}", outcome.status);
    // The server has four seconds for everybody, by its own clock.
    assert!(!outcome.log.contains("did not end in time"), "{}", outcome.log);
    assert!(!runs(&command), "the command outlives the server");
    reader.until_end();
    publisher.until_end();
}

#[test]
fn sigterm_says_goodbye_to_everybody() {
    check_stop(Signal::TERM);
}

#[test]
fn sigint_says_goodbye_to_everybody() {
    check_stop(Signal::INT);
}

#[test]
fn a_command_that_will_not_end_is_killed() {
    let server = Server::start(
        "paths:\n  cam1:\n    runOnInit: sh -c 'trap \"\" INT; echo $$ > command; while true; do sleep 1000; done'\n",
    );
    let command = until("the command runs", || {
        server.folder().read("command").strip_suffix('\n').map(str::to_owned)
    });
    let outcome = server.stop(Signal::TERM);
    assert!(outcome.status.success(), "{}", outcome.status);
    assert!(!runs(&command), "the command outlives the server");
}

fn takes_publisher(server: &Server, path: &str) -> bool {
    Publisher::try_new(server, path, None, Kind::Video, Codec::Vp8).is_ok()
}

#[test]
fn a_changed_file_is_in_force_and_nobody_is_disconnected() {
    let folder = Folder::new();
    let first = "logLevel: info\npaths:\n  cam1:\n";
    let mut command = command(&folder, first);
    command.env_remove("MTX_LOGLEVEL");
    let server = Server::launch(folder, command);
    let frames = made_up(20, 10, 100);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..10]);
    reader.until(0, 10);
    assert!(!takes_publisher(&server, "cam2"), "cam2 is not configured yet");

    let changed = "logLevel: debug\npaths:\n  cam1:\n    maxReaders: 1\n  cam2:\n    runOnAvailable: sleep 1000\n";
    server.folder().write("mediamtx.yml", changed);
    server.logged(&["configuration reloaded"]);
    let mut second = Publisher::vp8(&server, "cam2");
    second.send_all(&made_up(1, 1, 100));
    Reader::new(&server, "cam2").until(0, 1);
    drop(second);
    // Told on this level only.
    server.logged(&[" DEB ", "command stopped"]);
    assert!(
        Reader::open(server.address("rtspAddress"), "cam1", None).is_err(),
        "maxReaders is not in force"
    );

    publisher.send_all(&frames[10..]);
    reader.until(0, 20);
    let numbers: Vec<u64> = reader.frames(0).iter().map(|frame| number_of(&frame.payload)).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_logged_with_its_line() {
    let server = Server::start("paths:\n  cam1:\n");
    let frames = made_up(2, 1, 100);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send(&frames[0]);
    reader.until(0, 1);

    server
        .folder()
        .write("mediamtx.yml", "paths:\n  cam2:\n    sorce: publisher\n");
    server.logged(&["the configuration in force stays"]);
    let line = server.logged(&["mediamtx.yml:3:5"]);
    assert!(line.contains("did you mean `source`?"), "{line}");
    assert!(!takes_publisher(&server, "cam2"), "the wrong file is in force");
    publisher.send(&frames[1]);
    reader.until(0, 2);

    // A mistake is not the end: the next file counts.
    server.folder().write("mediamtx.yml", "paths:\n  cam1:\n  cam2:\n");
    server.logged(&["configuration reloaded"]);
    Publisher::vp8(&server, "cam2");
    assert_eq!(reader.end(), None);
}

#[test]
fn a_path_that_is_removed_takes_its_clients_with_it() {
    let server = Server::start("paths:\n  cam1:\n  cam2:\n");
    let mut gone = Publisher::vp8(&server, "cam1");
    let mut stays = Publisher::vp8(&server, "cam2");
    gone.send_all(&made_up(1, 1, 100));
    let reader = Reader::new(&server, "cam1");
    reader.until(0, 1);
    server.folder().write("mediamtx.yml", "paths:\n  cam2:\n");
    gone.until_end();
    reader.until_end();
    stays.send_all(&made_up(1, 1, 100));
    Reader::new(&server, "cam2").until(0, 1);
}
