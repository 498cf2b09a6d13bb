//! Everything bad at once, and swaps and calls by the thousand: what others must not notice.

use std::fs;

use serde_json::Value as Json;

use crate::harness::{Publisher, Reader, Server, made_up, number_of, plugin, until};

/// Whoever asks from this machine may do everything, changing plugins too.
const MANAGER: &str = "authInternalUsers:\n  - user: any\n    permissions: [{ action: publish }, { action: read }, { action: api }, { action: metrics }, { action: plugins }]\n";
const WASM: &str = "application/wasm";

/// An entry of `plugins`, and the path that uses it.
fn bad(guest: &str, mode: &str) -> (String, String) {
    let (name, file) = (format!("{guest}-{mode}"), plugin(guest));
    let entry = format!(
        "  {name}:\n    file: {}\n    config: {{ mode: {mode} }}\n    grant: {{ kv: yes }}\n    limits: {{ memory: 3M, callTimeout: 50ms }}\n",
        file.display()
    );
    (entry, format!("  {name}:\n    plugins: [{name}]\n"))
}

#[test]
fn everything_bad_at_once_costs_clean_streams_no_frame() {
    let filters = [
        "spin",
        "trap",
        "grow",
        "recurse",
        "bad-read",
        "bad-splice",
        "emit-many",
        "hoard",
        "log-flood",
    ];
    let sinks = [
        "trap",
        "spin",
        "grow",
        "hoard",
        "slow",
        "refuse",
        "bad-interests",
        "trap-in-open",
    ];
    let events = [
        "trap",
        "spin",
        "grow",
        "echo",
        "log-flood",
        "notify-flood",
        "metrics-flood",
        "kv-flood",
    ];
    let transcoders = ["trap", "spin", "grow", "garbage", "many"];
    let guests = [
        ("hostile", &filters[..]),
        ("sink-modes", &sinks),
        ("events-modes", &events),
        ("transcoder-modes", &transcoders),
    ];
    let bad: Vec<_> = guests
        .iter()
        .flat_map(|(guest, modes)| modes.iter().map(|mode| (*guest, *mode, bad(guest, mode))))
        .collect();
    let mut yaml = "plugins:\n".to_owned();
    bad.iter().for_each(|(.., (entry, _))| yaml.push_str(entry));
    yaml.push_str(&format!("  good:\n    file: {}\n", plugin("pass").display()));
    yaml.push_str("paths:\n");
    bad.iter().for_each(|(.., (_, path))| yaml.push_str(path));
    let clean = ["plain1", "plain2", "good1", "good2"];
    yaml.push_str("  plain1:\n  plain2:\n  good1:\n    plugins: [good]\n  good2:\n    plugins: [good]\n");
    let server = Server::start(&yaml);

    let frames = made_up(100, 10, 1_000);
    let mut others: Vec<_> = bad
        .iter()
        .map(|(guest, mode, _)| Publisher::vp8(&server, &format!("{guest}-{mode}")))
        .collect();
    let mut streams: Vec<_> = clean
        .map(|path| (path, Publisher::vp8(&server, path), Reader::new(&server, path)))
        .into_iter()
        .collect();
    for frame in &*frames {
        for publisher in &mut others {
            // A stream of which nothing is left may have been closed.
            let _ = publisher.try_send(frame);
        }
        streams.iter_mut().for_each(|(_, publisher, _)| publisher.send(frame));
    }
    for (path, _publisher, reader) in &streams {
        reader.until(0, frames.len());
        let got: Vec<_> = reader.frames(0).into_iter().map(|frame| frame.payload).collect();
        assert!(got == frames[..], "{path} is not what was published");
    }

    // Each fault is counted under its own name.
    let kinds = [("trap", "trap"), ("spin", "deadline"), ("grow", "memory")];
    for (guest, modes) in guests {
        for (mode, kind) in kinds.iter().filter(|(mode, _)| modes.contains(mode)) {
            let (plugin, kind) = (format!("plugin=\"{guest}-{mode}\""), format!("kind=\"{kind}\""));
            until(&format!("{guest} {mode} is counted"), || {
                (server.metric("wasmtx_plugin_failures_total", &[&plugin, &kind]) >= 1.0).then_some(())
            });
        }
    }
    for path in clean {
        let failures = server.metric("wasmtx_plugin_failures_total", &[&format!("path=\"{path}\"")]);
        assert_eq!(failures, 0.0, "{path}");
    }
}

#[test]
fn a_thousand_swaps_lose_and_double_nothing() {
    let yaml = format!(
        "{MANAGER}plugins:\n  marker:\n    file: {}\n    config: {{ mark: 7 }}\npaths:\n  cam1:\n    plugins: [marker]\n",
        plugin("marker").display()
    );
    let server = Server::start(&yaml);
    let frames = made_up(100_000, 50, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    let mut next = 0;
    let mut send = |frames_more: usize| {
        for frame in &frames[next..next + frames_more] {
            publisher.send(frame);
        }
        next += frames_more;
        next
    };
    let swapped = || {
        server.api("plugins/get/marker")["uses"][0]["swaps"]
            .as_u64()
            .expect("a number")
    };
    for n in 1..=1_000 {
        let (status, body) = server.post("plugins/reload/marker", WASM, &[]);
        assert_eq!(status, 200, "{body}");
        // Frames go on while the new version is made; each swap has happened before the next one begins.
        until("the new version takes over", || {
            send(2);
            (swapped() == n).then_some(())
        });
    }
    let sent = send(1);
    reader.until(0, sent);
    let got = reader.frames(0);
    for (n, frame) in got.iter().enumerate() {
        // The mark, the count of the plugin, which goes from version to version, and the frame's own number.
        let count = u64::from_be_bytes(frame.payload[1..9].try_into().expect("eight bytes"));
        assert_eq!((frame.payload[0], count), (7, n as u64 + 1));
        assert_eq!(number_of(&frame.payload[9..]), n as u64);
    }
    assert_eq!(got.len(), sent);
}

/// Steps of Marsaglia's xorshift: the same calls in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// What of the plugins a call could have changed.
fn plugins(server: &Server) -> Vec<[Json; 4]> {
    let items = server.api("plugins/list")["items"].as_array().expect("a list").clone();
    let facts = |plugin: &Json| ["name", "sha256", "enabled", "swaps"].map(|key| plugin[key].clone());
    items.iter().map(facts).collect()
}

/// Calls with any method, name, type and body; answers their codes.
fn call_at_random(server: &Server, random: &mut Random, calls: usize) -> Vec<u16> {
    let component = fs::read(plugin("pass")).expect("a guest");
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let actions = [
        "get", "reload", "push", "enable", "disable", "list", "purge", "%70ush", "",
    ];
    let names = [
        "nobody",
        "..%2fdoor",
        "door%00",
        "DOOR",
        "door/door",
        "%E0%80",
        "",
        "builtin:pass",
        "door?x=1#y",
    ];
    let kinds = [WASM, "application/json", "text/plain", ""];
    let long = vec![b'a'; 100_000];
    let bodies = [&b""[..], b"{}", b"\0asm", &component[..component.len() / 2], &long];
    let mut pick = |from: usize| random.below(from);
    (0..calls)
        .map(|_| {
            let route = format!(
                "/v3/plugins/{}/{}",
                actions[pick(actions.len())],
                names[pick(names.len())]
            );
            let (method, kind) = (methods[pick(methods.len())], kinds[pick(kinds.len())]);
            let body = bodies[pick(bodies.len())];
            server
                .call(method, &route, kind, body)
                // The server may hang up on a body that nobody is going to read.
                .map_or(0, |(status, _)| status)
        })
        .collect()
}

#[test]
fn random_calls_change_no_plugin_and_the_server_goes_on() {
    let door = format!(
        "plugins:\n  door:\n    file: {}\npaths:\n  cam1:\n    plugins: [door]\n",
        plugin("pass").display()
    );
    for access in ["", MANAGER] {
        let server = Server::start(&format!("{access}{door}"));
        let before = plugins(&server);
        let mut publisher = Publisher::vp8(&server, "cam1");
        let reader = Reader::new(&server, "cam1");
        let frames = made_up(20, 10, 500);
        publisher.send_all(&frames[..10]);
        let codes = call_at_random(&server, &mut Random(0x5eed), 300);
        assert!(codes.iter().all(|code| *code < 500), "{codes:?}");
        // "door" with a query and a fragment is the one that some calls do mean.
        let meant = !access.is_empty();
        let after = plugins(&server);
        assert_eq!(after[0][..2], before[0][..2], "the same plugin with the same component");
        assert!(
            meant || after == before,
            "nobody was allowed to change anything: {after:?}"
        );
        publisher.send_all(&frames[10..]);
        reader.until(0, 20);
    }
}
