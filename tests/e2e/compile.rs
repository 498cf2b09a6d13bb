//! Components that take a compiler long: they are refused by name of the bound, and nobody who watches notices.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use wasmtx_media::{Codec, Kind};

use crate::harness::{Folder, Publisher, Reader, Server, made_up, number_of, plugin, until};

/// The file of a plugin that is loaded, and changes.
const FILE: &str = "filter.wasm";

/// A small component, within every bound on what a file may have, over which the compiler sits for long: one function of a
/// thousand variables and eight thousand branches.
fn bomb() -> Vec<u8> {
    let variables = "i32 ".repeat(1_000);
    let branch = |n: usize| {
        let variable = 1 + n * 7 % 1_000;
        format!(
            "(block (br_if 0 (local.get 0))
                (local.set {variable} (i32.add (local.get {variable}) (i32.const 1))))"
        )
    };
    let branches: String = (0..8_000).map(branch).collect();
    let text = format!("(component (core module (func (param i32) (local {variables}) {branches})))");
    wat::parse_str(text).expect("a component")
}

/// A server whose path `cam1` has a filter from [`FILE`], with these limits.
fn with_filter(limits: &str) -> Server {
    let folder = Folder::new();
    folder.write(FILE, fs::read(plugin("pass")).expect("a plugin"));
    let yaml = format!(
        "plugins:\n  door:\n    file: ./{FILE}\n    limits: {{ {limits} }}\npaths:\n  cam1:\n    plugins: [door]\n"
    );
    Server::start_in(folder, &yaml, &[])
}

/// The server's compile child, while there is one.
fn compile_child(server: &Server) -> Option<Pid> {
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    let child = processes.find_map(|process| {
        let read = |file: &str| fs::read_to_string(process.path().join(file)).ok();
        // The name may hold anything; what follows its bracket is state and parent.
        let stat = read("stat")?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        let ours = parent == server.id() && read("cmdline")?.contains("--compile-plugins");
        ours.then(|| process.file_name().to_str()?.parse().ok())?
    });
    Pid::from_raw(child?)
}

/// Streams to a path, and does something after each frame, until the server said `words`. Every frame arrives.
fn streams_until_logged(server: &Server, words: &[&str], mut meanwhile: impl FnMut()) -> String {
    let frames = made_up(20_000, 10, 200);
    let mut publisher = Publisher::vp8(server, "cam1");
    let reader = Reader::new(server, "cam1");
    let mut sent = 0;
    let line = until(&format!("a line with {words:?}"), || {
        publisher.send(&frames[sent]);
        sent += 1;
        meanwhile();
        let log = server.log();
        let mut lines = log.lines();
        lines
            .find(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
    });
    reader.until(0, sent);
    let numbers: Vec<_> = reader.frames(0).iter().map(|frame| number_of(&frame.payload)).collect();
    assert_eq!(numbers, (0..sent as u64).collect::<Vec<_>>());
    line
}

/// Whether a path takes a stream.
fn may_publish(server: &Server, path: &str) -> bool {
    Publisher::try_new(server, path, None, Kind::Video, Codec::Vp8).is_ok()
}

#[test]
fn a_component_that_takes_too_long_to_compile_leaves_the_old_version_running() {
    let server = with_filter("compileTimeout: 2s");
    server.folder().write(FILE, bomb());
    let line = streams_until_logged(&server, &["the changed file is not used", "processor time"], || {});
    assert!(line.contains("compileTimeout"), "{line}");
    let shown = server.api("plugins/list")["items"][0]["error"].to_string();
    assert!(shown.contains("more than 2 s of processor time"), "{shown}");
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_leaves_the_old_version_running() {
    let server = with_filter("compileMemory: 64M");
    server.folder().write(FILE, bomb());
    streams_until_logged(&server, &["the changed file is not used", "64 MiB of memory"], || {});
}

#[test]
fn the_compiler_may_be_killed_at_its_work() {
    let server = with_filter("compileTimeout: 30s");
    server.folder().write(FILE, bomb());
    // Once is taken for bad luck, so it takes more than one.
    streams_until_logged(
        &server,
        &["the changed file is not used", "ended while it worked"],
        || {
            if let Some(child) = compile_child(&server) {
                // It may have ended by itself.
                let _ = kill_process(child, Signal::KILL);
            }
        },
    );
    server
        .folder()
        .write(FILE, fs::read(plugin("keyframes-only")).expect("a plugin"));
    until("the next version takes over", || {
        (server.api("plugins/list")["items"][0]["swaps"] == 1).then_some(())
    });
}

#[test]
fn a_server_that_starts_with_a_bomb_serves_all_paths_but_those_that_use_it() {
    let folder = Folder::new();
    folder.write(FILE, bomb());
    let server = Server::start_in(
        folder,
        &format!(
            "plugins:\n  bomb:\n    file: ./{FILE}\n    limits: {{ compileTimeout: 2s }}\n  good:\n    file: {}\npaths:\n  \
             cam1:\n    plugins: [good]\n  cam2:\n    plugins: [bomb]\n",
            plugin("pass").display()
        ),
        &[],
    );
    let line = server.logged(&["plugin is refused"]);
    assert!(line.contains("more than 2 s of processor time"), "{line}");
    let shown = server.api("plugins/get/bomb")["error"].to_string();
    assert!(shown.contains("compileTimeout"), "{shown}");

    let frames = made_up(100, 10, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames);
    reader.until(0, frames.len());
    assert!(
        !may_publish(&server, "cam2"),
        "nothing is known about what it would see"
    );

    // A good component over it, and the path is open.
    server.folder().write(FILE, fs::read(plugin("pass")).expect("a plugin"));
    server.logged(&["plugin is no longer refused"]);
    until("the path is open", || may_publish(&server, "cam2").then_some(()));
}
