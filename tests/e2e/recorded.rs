//! Paths that are recorded: what is in the files, which commands hear of them, and switching it while a stream runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{Codec, Folder, Player, Reader, Server, Transport, assert_run, hashes_of, plugin, until};

/// The recorded files of a path, by name, which is by time.
fn recorded(server: &Server, path: &str) -> Vec<PathBuf> {
    let folder = server.folder().file("recordings").join(path);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// A command that adds a line to a file.
fn note(file: &str, words: &str) -> String {
    format!("sh -c 'echo \"{words}\" >> {file}'")
}

/// The lines of that file, once there are so many.
fn noted(server: &Server, file: &str, least: usize) -> Vec<Vec<String>> {
    until(&format!("{least} lines in {file}"), || {
        let text = server.folder().read(file);
        let whole = text.rsplit_once('\n')?.0;
        let lines = whole.lines().map(|line| line.split(' ').map(str::to_owned).collect());
        Some(lines.collect::<Vec<_>>()).filter(|lines| lines.len() >= least)
    })
}

fn reload(server: &Server, yaml: &str) {
    let before = server.log().matches("configuration reloaded").count();
    server.folder().write("mediamtx.yml", yaml);
    until("the configuration is reloaded", || {
        (server.log().matches("configuration reloaded").count() > before).then_some(())
    });
}

fn hashes(files: &[impl AsRef<Path>]) -> Vec<String> {
    files
        .iter()
        .flat_map(|file| hashes_of(file.as_ref(), Codec::H264))
        .collect()
}

#[test]
fn every_frame_of_a_recorded_stream_is_in_files_that_players_read() {
    for (format, extension) in [("fmp4", "mp4"), ("mpegts", "ts")] {
        let server = Server::start(&format!(
            "paths:\n  cam1:\n    record: yes\n    recordFormat: {format}\n    recordPartDuration: 200ms\n    \
             recordSegmentDuration: 4s\n    runOnRecordSegmentComplete: {}\n",
            note("done", "$MTX_SEGMENT_PATH")
        ));
        let clip = Codec::H264.clip();
        Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip).wait();
        server.offline("cam1");
        // A player's last frames go missing now and then; what came is in the files, across their borders.
        let sent = clip.hashes();
        let got = until("the last file is whole", || {
            let done = noted(&server, "done", 1);
            let files: Vec<_> = done.iter().map(|line| server.folder().file(&line[0])).collect();
            assert!(
                files
                    .iter()
                    .all(|file| file.extension().is_some_and(|found| found == extension))
            );
            Some(hashes(&files)).filter(|got| got.len() >= sent.len() * 9 / 10)
        });
        assert_run(&sent, &got, 1);
    }
}

#[test]
fn commands_hear_of_each_segment_when_it_begins_and_when_it_is_whole() {
    let server = Server::start(&format!(
        "paths:\n  ~^yard/(.+)$:\n    record: yes\n    recordSegmentDuration: 2s\n    recordPartDuration: 200ms\n    \
         runOnRecordSegmentCreate: {}\n    runOnRecordSegmentComplete: {}\n",
        note("created", "$MTX_PATH $G1 $RTSP_PORT $MTX_SEGMENT_PATH"),
        note("done", "$MTX_PATH $MTX_SEGMENT_PATH $MTX_SEGMENT_DURATION"),
    ));
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "yard/cam1", &Codec::H264.clip());
    let (created, done) = (noted(&server, "created", 2), noted(&server, "done", 1));
    drop(publishing);
    let port = server.address("rtspAddress").port().to_string();
    assert_eq!(created[0][..3], ["yard/cam1", "cam1", &port]);
    assert!(created[0][3].starts_with("./recordings/yard/cam1/") && created[0][3].ends_with(".mp4"));
    assert_eq!(done[0][..2], ["yard/cam1", &created[0][3]]);
    let seconds: f64 = done[0][2].parse().expect("seconds");
    assert!((2.0..4.0).contains(&seconds), "{seconds}");
}

#[test]
fn recording_is_switched_by_requests_and_the_publisher_notices_nothing() {
    let yaml = |more: &str| {
        format!(
            "paths:\n  cam1:\n    recordPartDuration: 200ms\n    runOnRecordSegmentComplete: {}\n{more}",
            note("done", "$MTX_SEGMENT_PATH")
        )
    };
    let server = Server::start(&yaml(""));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    let source = server.online("cam1")["source"].clone();
    assert!(
        !server.api("plugins/list").to_string().contains("recorder"),
        "it is not even loaded"
    );
    assert_eq!(server.ask("POST", "paths/record/start/nobody").0, 404);
    assert_eq!(server.ask("GET", "paths/record/start/cam1").0, 405);
    for _ in 0..2 {
        let (status, body) = server.ask("POST", "paths/record/start/cam1");
        assert_eq!((status, &*body), (200, r#"{"status":"ok"}"#));
    }
    until("there is a file", || {
        (recorded(&server, "cam1").len() == 1).then_some(())
    });
    assert_eq!(server.path("cam1").expect("a path")["recording"], true);
    // What a request said survives another configuration.
    reload(&server, &yaml("    maxReaders: 9\n"));
    assert_eq!(server.path("cam1").expect("a path")["recording"], true);
    for _ in 0..2 {
        assert_eq!(server.ask("POST", "paths/record/stop/cam1").0, 200);
    }
    let done = noted(&server, "done", 1);
    let path = server.path("cam1").expect("a path");
    assert_eq!((&path["recording"], &path["source"]), (&false.into(), &source));
    let files = recorded(&server, "cam1");
    assert_eq!((files.len(), done.len()), (1, 1));
    let got = hashes(&files);
    assert_run(&Codec::H264.clip().hashes(), &got, 1);
}

#[test]
fn a_path_that_is_recorded_by_its_configuration_can_be_stopped_too() {
    let server = Server::start("paths:\n  cam1:\n    record: yes\n    recordPartDuration: 200ms\n");
    assert_eq!(server.ask("POST", "paths/record/stop/cam1").0, 200);
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    assert_eq!(server.online("cam1")["recording"], false);
    assert_eq!(server.ask("POST", "paths/record/start/cam1").0, 200);
    until("there is a file", || {
        (recorded(&server, "cam1").len() == 1).then_some(())
    });
}

#[test]
fn a_changed_key_ends_the_segment_and_begins_another_and_an_unchanged_one_does_not() {
    let yaml = |part: &str, more: &str| {
        format!("paths:\n  cam1:\n    record: yes\n    recordPartDuration: {part}\n{more}  other:\n    record: no\n")
    };
    let server = Server::start(&yaml("200ms", ""));
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    let source = server.online("cam1")["source"].clone();
    until("there is a file", || {
        (recorded(&server, "cam1").len() == 1).then_some(())
    });
    reload(
        &server,
        &yaml("200ms", "    recordDeleteAfter: 3d\n    maxReaders: 9\n"),
    );
    reload(&server, &yaml("100ms", ""));
    until("there is a second file", || {
        (recorded(&server, "cam1").len() == 2).then_some(())
    });
    reload(&server, "paths:\n  cam1:\n  other:\n");
    until("it is not recorded any more", || {
        (server.path("cam1")?["recording"] == false).then_some(())
    });
    assert_eq!(server.path("cam1").expect("a path")["source"], source);
    let files = recorded(&server, "cam1");
    assert_eq!(files.len(), 2, "the first reload changed nothing about the files");
    assert_run(&Codec::H264.clip().hashes(), &hashes(&files[..1]), 1);
}

#[test]
fn a_recording_begins_with_what_came_before_it_was_asked_for() {
    let server = Server::start("paths:\n  cam1:\n    recordPartDuration: 200ms\n    recordPreRoll: 40s\n");
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    // Two seconds and more of the stream are over when it is asked for.
    Reader::new(&server, "cam1").until(0, 60);
    assert_eq!(server.ask("POST", "paths/record/start/cam1").0, 200);
    until("there is a file", || {
        (recorded(&server, "cam1").len() == 1).then_some(())
    });
    let got = until("there are its first frames", || {
        Some(hashes(&recorded(&server, "cam1"))).filter(|got| got.len() >= 50)
    });
    assert_eq!(
        assert_run(&clip.hashes(), &got, 50),
        0,
        "it begins with the first frame of all"
    );
}

#[test]
fn recordings_are_listed_and_deleted_by_requests_but_for_the_one_that_is_written() {
    let server = Server::start(
        "paths:\n  all_others:\n    record: yes\n    recordPartDuration: 200ms\n    recordSegmentDuration: 2s\n",
    );
    assert_eq!(server.api("recordings/list")["itemCount"], 0);
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "yard/cam1", &Codec::H264.clip());
    let starts = |least: usize| {
        until(&format!("{least} segments are listed"), || {
            let listed = server.api("recordings/get/yard/cam1");
            assert_eq!(listed["name"], "yard/cam1");
            let segments = listed["segments"].as_array().expect("a list").clone();
            let starts = segments
                .iter()
                .map(|segment| segment["start"].as_str().expect("a time").to_owned());
            Some(starts.collect::<Vec<_>>()).filter(|starts| starts.len() >= least)
        })
    };
    let first = starts(2)[0].clone();
    let list = server.api("recordings/list");
    assert_eq!(
        (&list["itemCount"], &list["items"][0]["name"]),
        (&1.into(), &"yard/cam1".into())
    );
    let delete = |path: &str, start: &str| {
        server
            .ask("DELETE", &format!("recordings/deletesegment?path={path}&start={start}"))
            .0
    };
    assert_eq!(delete("yard/cam1", "yesterday"), 400);
    assert_eq!(delete("yard/../cam1", &first), 400);
    assert_eq!(delete("yard/cam1", "2001-01-01T00:00:00Z"), 404);
    let files = recorded(&server, "yard/cam1");
    assert_eq!(delete("yard/cam1", &first), 200);
    assert!(!files[0].exists());
    assert!(!server.api("recordings/get/yard/cam1").to_string().contains(&first));
    assert_eq!(delete("yard/cam1", &first), 404);
    // Between the question and the request the newest may have been finished: then there is a newer one.
    let busy = until("the one that is written stays", || {
        let newest = starts(1).pop()?;
        (delete("yard/cam1", &newest) == 409).then_some(newest)
    });
    assert!(server.api("recordings/get/yard/cam1").to_string().contains(&busy));
}

#[test]
fn a_plugin_of_the_configuration_by_that_name_records_in_place_of_the_bundled_one() {
    let folder = Folder::new();
    fs::copy(plugin("recorder"), folder.file("own.wasm")).expect("a component");
    let yaml = "plugins:\n  recorder:\n    file: ./own.wasm\npaths:\n  cam1:\n    record: yes\n    recordPartDuration: 200ms\n    \
                recordPath: ./kept/%path/%s\n";
    let server = Server::start_in(folder, yaml, &[]);
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    let kept = server.folder().file("kept/cam1");
    until("there is a file", || {
        Some(fs::read_dir(&kept).ok()?.count()).filter(|count| *count > 0)
    });
    let plugins = server.api("plugins/list");
    assert!(
        plugins["items"][0]["source"].to_string().contains("own.wasm"),
        "{plugins}"
    );
}

#[test]
fn a_recorder_that_does_not_take_its_settings_is_named_with_the_path() {
    let folder = Folder::new();
    let yaml = format!(
        "plugins:\n  recorder:\n    file: {}\npaths:\n  cam1:\n    record: yes\n",
        plugin("sink-modes").display()
    );
    let mut command = crate::harness::command(&folder, &yaml);
    let output = command.output().expect("the server starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("paths.cam1.record: plugin \"recorder\", config"),
        "{said}"
    );
}
