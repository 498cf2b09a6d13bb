//! FLV in a browser: mpegts.js and flv.js in Chromium, by HTTP and by WebSocket, in a page from elsewhere.

use std::{collections::HashMap, fs};

use serde_json::Value as Json;

use crate::harness::{Backend, Codec, Folder, OPEN, Reply, Server, Tool, Viewer, root, until};

/// One player of the page.
const PLAYERS: [(&str, &str); 4] = [("mpegts", "http"), ("mpegts", "ws"), ("flvjs", "http"), ("flvjs", "ws")];

/// Plays with each library by each protocol, and tells what came of it.
fn page(server: &Server, path: &str) -> String {
    let address = server.address("flvAddress");
    let players = PLAYERS.map(|(library, scheme)| {
        format!("play({library}, '{library}', '{scheme}', '{scheme}://{address}/{path}.flv');")
    });
    format!(
        "<!doctype html><script src=/mpegts.js></script><script src=/flv.js></script><script>
        function play(library, name, scheme, url) {{
            const video = document.createElement('video');
            video.muted = true;
            document.documentElement.append(video);
            const player = library.createPlayer({{type: 'flv', isLive: true, url: url}});
            let error = null;
            player.on(library.Events.ERROR, (...what) => error = what.map(String).join(' '));
            player.attachMediaElement(video);
            player.load();
            player.play();
            setInterval(() => fetch('/report', {{method: 'POST', body: JSON.stringify({{
                name: name + ' ' + scheme,
                time: video.currentTime,
                frames: video.getVideoPlaybackQuality().totalVideoFrames,
                sound: video.webkitAudioDecodedByteCount,
                width: video.videoWidth,
                error: error,
            }})}}), 200);
        }}
        {}
        </script>",
        players.concat()
    )
}

/// Serves the page and its libraries.
fn website(page: String) -> Backend {
    let library = |path: &str| {
        let file = root().join("target/players/js/node_modules").join(path);
        fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; `scripts/setup test` gets it", file.display());
        })
    };
    let libraries = [library("mpegts.js/dist/mpegts.js"), library("flv.js/dist/flv.min.js")];
    Backend::start(move |route, _| match route {
        "/" => Reply::Now(200, page.clone()),
        "/mpegts.js" => Reply::Now(200, libraries[0].clone()),
        "/flv.js" => Reply::Now(200, libraries[1].clone()),
        "/report" => Reply::Now(200, String::new()),
        _ => Reply::Now(404, String::new()),
    })
}

/// A browser without a window that asks nobody else for anything.
fn browse(url: &str, profile: &Folder) -> Tool {
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --disable-dev-shm-usage --autoplay-policy=no-user-gesture-required \
        --mute-audio";
    let flags = flags.split_whitespace().map(str::to_owned);
    let profile = format!("--user-data-dir={}", profile.path().display());
    Tool::start("chromium", flags.chain([profile, url.to_owned()]))
}

#[test]
fn browsers_play_flv_from_another_origin() {
    let server = Server::start(OPEN);
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp("live/cam1"), &Codec::Both.clip());
    server.online("live/cam1");
    let website = website(page(&server, "live/cam1"));
    let profile = Folder::new();
    let _browser = browse(&website.url("/"), &profile);

    // The first report that shows something, by player.
    let mut first: HashMap<String, Json> = HashMap::new();
    let number = |report: &Json, key: &str| report[key].as_f64().unwrap_or_default();
    until("every player plays", || {
        let mut moving = 0;
        let reports = website.asked();
        for (library, scheme) in PLAYERS {
            let name = format!("{library} {scheme}");
            let mut mine = reports.iter().filter(|report| report["name"] == *name);
            for report in mine.clone() {
                assert!(report["error"].is_null(), "{report}");
                if number(report, "frames") > 0.0 {
                    first.entry(name.clone()).or_insert_with(|| report.clone());
                }
            }
            if let (Some(begin), Some(now)) = (first.get(&name), mine.next_back()) {
                let grows = |key| number(now, key) > number(begin, key);
                moving += usize::from(grows("time") && grows("frames") && grows("sound"));
                assert_eq!(now["width"], 320, "{now}");
            }
        }
        (moving == PLAYERS.len()).then_some(())
    });
}
