use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use wasmtx_hub::{Access, Action, Decision, Denial, Gate, Hub, PathConfig, PathName, Permit, Rule, Rules};
use wasmtx_media::{
    Flags, Frame, Kind, Payload, Track,
    container::mp4::{
        self,
        recorded::{self, Header},
    },
    nal,
    recording::{Format, Template},
};

use super::{
    library::{Library, Reader},
    *,
};
use crate::{
    http,
    recording::{Join, Segment},
};

mod hostile;
mod transport;

/// A directory as the recorder of MediaMTX fills it, without a memory of its own.
struct Folder {
    root: PathBuf,
    template: Template,
}

impl Folder {
    fn new(root: &Path) -> Folder {
        Folder {
            root: root.to_owned(),
            template: Template::parse("%path/%Y-%m-%d_%H-%M-%S-%f").unwrap(),
        }
    }

    fn segment(&self, path: &str, name: &str) -> Option<Segment> {
        let (stem, format) = Format::split(name)?;
        let file = format!("{path}/{name}");
        let found = self
            .template
            .matches(&file[..file.len() - name.len() + stem.len()], Some(path), |_| 0)?;
        let start = found.start;
        let bytes = fs::read(self.root.join(&file)).ok()?;
        if format == Format::MpegTs {
            return Some(transport::segment(start, file, &bytes));
        }
        let header = Header::read(&bytes).ok()?;
        Some(Segment {
            start,
            duration: header
                .duration
                .map_or_else(|| lasts(&header, &bytes), |duration| duration / 1_000),
            size: bytes.len() as u64,
            file: file.into(),
            format,
            active: false,
            known: true,
            join: header.segment.map(|segment| Join {
                stream: segment.stream,
                number: segment.number,
                dts: segment.dts,
            }),
            tracks: header.fingerprint(),
        })
    }
}

/// Microseconds until the last sample ends.
fn lasts(header: &Header, bytes: &[u8]) -> u64 {
    let mut end = 0;
    let mut at = header.len as usize;
    while let Some((kind, size)) = bytes.get(at..).and_then(file::box_head) {
        if &kind == b"moof" {
            let moof = &bytes[at..at + size as usize];
            recorded::samples(moof, at as u64, &header.tracks, |sample| {
                let rate = header.tracks[sample.track].clock_rate;
                end = end.max(range::of_ticks(sample.dts + i64::from(sample.duration), rate));
            })
            .unwrap();
        }
        at += size as usize;
    }
    end as u64 / 1_000
}

impl Library for Folder {
    fn segments(&self, path: &PathName, _within: Option<(u64, u64)>) -> io::Result<Option<Arc<[Segment]>>> {
        let path = path.as_str();
        if path == "unconfigured" {
            return Ok(None);
        }
        let Ok(entries) = fs::read_dir(self.root.join(path)) else {
            return Ok(Some(Arc::new([])));
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<Segment> = names.filter_map(|name| self.segment(path, &name)).collect();
        found.sort_by_key(|segment| segment.start);
        Ok(Some(found.into()))
    }

    fn open(&self, _path: &PathName, segment: &Segment) -> io::Result<Box<dyn Reader>> {
        Ok(Box::new(Opened(fs::File::open(self.root.join(&*segment.file))?)))
    }
}

struct Opened(fs::File);

impl Reader for Opened {
    fn read_at(&self, offset: u64, len: u32) -> io::Result<Bytes> {
        let mut bytes = vec![0; len as usize];
        let read = self.0.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

/// Lets everybody play back but who asks for `secret`.
struct Door;

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        assert_eq!(access.action, Action::Playback);
        let is_secret = access.path.as_ref().is_some_and(|path| path.as_str() == "secret");
        let decision = if is_secret {
            Decision::Deny(Denial::Credentials)
        } else {
            Decision::Allow(Permit::default())
        };
        Box::pin(std::future::ready(decision))
    }
}

struct House {
    address: String,
    _stop: watch::Sender<bool>,
}

impl House {
    fn open(root: &Path) -> House {
        let hub = Hub::new().0;
        let rule = Rule::new("all_others", Arc::new(PathConfig::default())).unwrap();
        hub.configure(Instant::now(), Rules::new(vec![rule]));
        let service = Service::over(Settings::default(), Arc::new(Folder::new(root)), hub, Arc::new(Door));
        let server = http::Server::bind("playbackAddress", "127.0.0.1:0", http::Limits::default(), None).unwrap();
        let address = server.local_address();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server.serve(service.router(), stopped));
        House { address, _stop: stop }
    }
}

/// An answer that was read to its end.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn error(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(json["status"], "error");
        json["error"].as_str().unwrap().to_owned()
    }
}

impl House {
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        socket.write_all((request + "\r\n").as_bytes()).await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut body = all.split_off(end + 4);
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body,
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
        if size == 0 {
            return body;
        }
    }
}

/// 2026-01-01 00:00:00 UTC, microseconds since 1970.
const NEW_YEAR: u64 = 1_767_225_600_000_000;
const FRAME_RATE: i64 = 25;

/// A recording in a directory of its own: 25 pictures and 50 sounds a second, a keyframe every second, parts of a second. Every
/// payload is its own.
struct Recording {
    root: PathBuf,
}

impl Recording {
    /// Files that last as many seconds as the list says, one behind the other.
    fn new(name: &str, files: &[i64]) -> Recording {
        let root = std::env::temp_dir().join(format!("wasmtx-playback-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("cam")).unwrap();
        let recording = Recording { root };
        let mut second = 0;
        for (number, seconds) in (0..).zip(files) {
            recording.write(number, second, *seconds);
            second += seconds;
        }
        recording
    }

    fn file(&self, second: i64) -> PathBuf {
        let name = format!("cam/2026-01-01_00-{:02}-{:02}-000000.mp4", second / 60, second % 60);
        self.root.join(name)
    }

    fn write(&self, number: u64, second: i64, seconds: i64) {
        let [video, sound] = tracks();
        let segment = mp4::Segment {
            stream: [7; 16],
            number,
            dts: second * 1_000_000_000,
            wall: 0,
        };
        let mut writer = mp4::Writer::<Payload>::segment(&[video.clone(), sound.clone()], segment).unwrap();
        for track in [&video, &sound] {
            let zero = second * i64::from(track.clock_rate);
            writer.begin(track.id, zero, zero);
        }
        let mut file = writer.header().unwrap().to_vec();
        let mut append = |part: Option<mp4::Part>| {
            let part = part.unwrap();
            file.extend_from_slice(&part.head);
            for piece in &part.body {
                match piece {
                    mp4::Piece::Inline(bytes) => file.extend_from_slice(bytes),
                    mp4::Piece::Payload(payload) => {
                        payload.pieces().iter().for_each(|bytes| file.extend_from_slice(bytes))
                    }
                }
            }
        };
        for now in second..second + seconds {
            for n in now * FRAME_RATE..(now + 1) * FRAME_RATE {
                writer.push(&picture(&video, n)).unwrap();
                for sounds in 2 * n..2 * n + 2 {
                    writer.push(&noise(&sound, sounds)).unwrap();
                }
            }
            if now + 1 < second + seconds {
                append(writer.part());
            }
        }
        let end = second + seconds;
        writer.until(video.id, end * i64::from(video.clock_rate));
        writer.until(sound.id, end * i64::from(sound.clock_rate));
        append(writer.finish());
        fs::write(self.file(second), file).unwrap();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn tracks() -> [Track; 2] {
    let movie = mp4::read(&Bytes::from_static(include_bytes!(
        "../../../media/testdata/mp4/h264-aac.mp4"
    )))
    .unwrap();
    let [video, sound] = &*movie.tracks else {
        panic!("{:?}", movie.tracks)
    };
    let video = Track {
        clock_rate: 90_000,
        ..video.clone()
    };
    let sound = Track {
        clock_rate: 48_000,
        ..sound.clone()
    };
    [video, sound]
}

/// Every 25th is a keyframe. Sizes differ.
fn picture(track: &Track, n: i64) -> Frame {
    let is_key = n % FRAME_RATE == 0;
    let mut nal = vec![if is_key { 0x65 } else { 0x41 }];
    nal.extend_from_slice(&coded(n));
    nal.resize(100 + (n as usize * 37) % 900, n as u8 | 1);
    let payload = nal::from_nals([&nal[..]]).unwrap();
    frame(track, n, FRAME_RATE, is_key, payload)
}

/// A number without the zeros that a NAL unit cannot have.
fn coded(n: i64) -> [u8; 8] {
    n.to_be_bytes().map(|byte| byte ^ 0x55)
}

fn noise(track: &Track, n: i64) -> Frame {
    let mut payload = b"sound".to_vec();
    payload.extend_from_slice(&coded(n));
    payload.resize(20 + (n as usize * 13) % 90, n as u8);
    frame(track, n, 2 * FRAME_RATE, true, payload.into())
}

fn frame(track: &Track, n: i64, per_second: i64, is_key: bool, payload: Bytes) -> Frame {
    let rate = i64::from(track.clock_rate);
    Frame {
        track: track.id,
        number: n as u64,
        pts: n * rate / per_second,
        dts: n * rate / per_second,
        duration: (rate / per_second) as u32,
        wall: None,
        flags: Flags::NONE.set(Flags::KEY, is_key),
        payload: payload.into(),
    }
}

/// Which pictures a file holds that are shown, with their moments in milliseconds.
fn shown(file: &[u8]) -> Vec<(i64, i64)> {
    let (pictures, _) = frames(file);
    pictures
        .into_iter()
        .filter(|(.., duration)| *duration > 0)
        .map(|(n, at, _)| (n, at))
        .collect()
}

/// Decoding time, presentation time and payload of the frames of one track, as `frames` tells them.
type Timed = Vec<(i64, i64, u32)>;

/// Number, moment in milliseconds and duration of all pictures and all sounds.
fn frames(file: &[u8]) -> (Timed, Timed) {
    let movie = mp4::read(&Bytes::copy_from_slice(file)).unwrap();
    assert_eq!(movie.missing, 0);
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for step in &movie.steps {
        let mp4::Step::Frame(frame) = step else { continue };
        let track = movie.tracks.iter().find(|track| track.id == frame.track).unwrap();
        let at = (frame.pts * 1_000).div_euclid(i64::from(track.clock_rate));
        let payload: Vec<u8> = frame.payload.pieces().concat();
        let number = |at: usize| i64::from_be_bytes(coded(i64::from_be_bytes(payload[at..at + 8].try_into().unwrap())));
        let [video, sound] = tracks();
        if track.kind == Kind::Video {
            assert_eq!(payload, picture(&video, number(5)).payload.pieces().concat());
            pictures.push((number(5), at, frame.duration));
        } else {
            assert_eq!(payload, noise(&sound, number(5)).payload.pieces().concat());
            sounds.push((number(5), at, frame.duration));
        }
    }
    (pictures, sounds)
}

fn url(route: &str, millis: u64, query: &str) -> String {
    let at = query::spell((NEW_YEAR as i64 + millis as i64 * 1_000) * 1_000).replace('+', "%2B");
    format!("{route}start={at}&{query}")
}

#[tokio::test]
async fn files_that_join_are_listed_as_one_range_with_a_link_to_it() {
    let recording = Recording::new("list", &[4, 3, 5]);
    fs::remove_file(recording.file(4)).unwrap();
    recording.write(9, 20, 2);
    let house = House::open(&recording.root);
    let list: serde_json::Value = serde_json::from_slice(&house.get("/list?path=cam").await.body).unwrap();
    let durations: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["duration"].as_f64().unwrap())
        .collect();
    assert_eq!(durations, [4.0, 5.0, 2.0]);
    let link = list[1]["url"].as_str().unwrap();
    let target = link.strip_prefix(&format!("http://{}", house.address)).unwrap();
    let file = house.get(target).await;
    assert_eq!((file.status, file.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(shown(&file.body).len(), 5 * 25);
    assert_eq!(
        house
            .get(&url("/list?path=cam&", 13_000, "end=2026-01-01T00:00:15Z"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_range_begins_and_ends_with_the_frames_asked_for_and_lacks_none_across_files() {
    let recording = Recording::new("range", &[4, 3, 5]);
    let house = House::open(&recording.root);
    for (from, to) in [
        (0, 12_000),
        (1_500, 9_100),
        (3_960, 4_040),
        (4_000, 7_000),
        (2_010, 2_020),
        (11_990, 12_000),
        (500, 60_000),
    ] {
        for format in ["fmp4", "mp4"] {
            let query = format!("duration={}&path=cam&format={format}", (to - from) as f64 / 1e3);
            let file = house.get(&url("/get?", from, &query)).await;
            let first = from.div_ceil(40);
            let last = to.min(12_000).div_ceil(40);
            if last <= first && (from.div_ceil(20) >= to.div_ceil(20)) {
                assert_eq!(file.status, 404, "{from} {to} {format}");
                continue;
            }
            assert_eq!(file.status, 200, "{from} {to} {format}: {}", file.head);
            let expected: Vec<_> = (first..last).map(|n| (n as i64, (n * 40 - from) as i64)).collect();
            let (pictures, sounds) = frames(&file.body);
            let of_range = |(_, at, duration): &&(i64, i64, u32)| *at >= 0 && *duration > 0;
            let found: Vec<_> = pictures.iter().filter(of_range).map(|(n, at, _)| (*n, *at)).collect();
            assert_eq!(found, expected, "{from} {to} {format}");
            let heard: Vec<_> = sounds.iter().filter(of_range).map(|(n, ..)| *n as u64).collect();
            let expected: Vec<_> = (from.div_ceil(20)..to.min(12_000).div_ceil(20)).collect();
            assert_eq!(heard, expected, "{from} {to} {format}");
            // What leads in begins with a keyframe.
            if let Some((n, ..)) = pictures.first() {
                assert_eq!(n % FRAME_RATE, 0, "{from} {to} {format}");
            }
        }
    }
}

#[tokio::test]
async fn any_bytes_of_a_file_are_those_of_the_whole() {
    let recording = Recording::new("bytes", &[4, 3, 5]);
    let house = House::open(&recording.root);
    for format in ["fmp4", "mp4"] {
        let target = url("/get?", 1_300, &format!("duration=8.5&path=cam&format={format}"));
        let whole = house.get(&target).await;
        let len = whole.body.len();
        assert_eq!(whole.header("content-length"), Some(len.to_string().as_str()));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let tag = whole.header("etag").unwrap();
        let head = house.ask("HEAD", &target, &[]).await;
        assert_eq!(
            (head.status, head.header("content-length"), head.body.len()),
            (200, whole.header("content-length"), 0)
        );
        // From everywhere for a few bytes, and everything from anywhere.
        for (first, last) in (0..len)
            .step_by(977)
            .map(|at| (at, at + 40))
            .chain((0..len).step_by(9_001).map(|at| (at, len)))
        {
            let part = house
                .ask(
                    "GET",
                    &target,
                    &[("range", &format!("bytes={first}-{last}")), ("if-range", tag)],
                )
                .await;
            let end = len.min(last + 1);
            assert_eq!(part.status, 206);
            assert_eq!(
                part.header("content-range"),
                Some(format!("bytes {first}-{}/{len}", end - 1).as_str())
            );
            assert!(part.body == whole.body[first..end], "{format} {first}-{last}");
        }
        let beyond = house.ask("GET", &target, &[("range", &format!("bytes={len}-"))]).await;
        assert_eq!(
            (beyond.status, beyond.header("content-range")),
            (416, Some(format!("bytes */{len}").as_str()))
        );
        assert_eq!(house.ask("GET", &target, &[("if-none-match", tag)]).await.status, 304);
    }
}

#[tokio::test]
async fn a_playlist_has_every_frame_of_its_range_once() {
    let recording = Recording::new("playlist", &[6, 7, 5]);
    fs::remove_file(recording.file(6)).unwrap();
    let house = House::open(&recording.root);
    let target = url("/vod/cam/index.m3u8?", 2_500, "duration=14&jwt=a%26b");
    let playlist = house.get(&target).await;
    assert_eq!(
        (playlist.status, playlist.header("content-type")),
        (200, Some("application/vnd.apple.mpegurl"))
    );
    let text = playlist.text();
    assert!(text.contains("#EXT-X-START:TIME-OFFSET=0.5,PRECISE=YES\n"), "{text}");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    let mut header = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(map) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
            let init = house.get(&format!("/vod/cam/{}", map.trim_end_matches('"'))).await;
            assert_eq!(init.status, 200);
            header = init.body;
        } else if !line.starts_with('#') {
            assert!(line.ends_with("?jwt=a%26b"), "{line}");
            let segment = house.get(&format!("/vod/cam/{line}")).await;
            assert_eq!(segment.status, 200);
            let pictures = shown(&[&header[..], &segment.body].concat());
            assert_eq!(pictures[0].0 % FRAME_RATE, 0, "segments begin with keyframes");
            found.extend(pictures.into_iter().map(|(n, _)| n));
        }
    }
    let expected: Vec<i64> = (2 * 25..6 * 25).chain(13 * 25..413).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_served_up_to_its_last_whole_part() {
    let recording = Recording::new("cut", &[4]);
    let whole = fs::read(recording.file(0)).unwrap();
    let house = House::open(&recording.root);
    for missing in [1, 8, 500, 30_000] {
        fs::write(recording.file(0), &whole[..whole.len() - missing]).unwrap();
        let file = house.get(&url("/get?", 0, "duration=10&path=cam")).await;
        // The writer keeps the last picture of a part for the next.
        let pictures = if missing > 25_000 { 49 } else { 74 };
        assert_eq!(shown(&file.body).len(), pictures, "{missing}");
    }
}

#[tokio::test]
async fn wrong_questions_are_refused_with_the_reason() {
    let recording = Recording::new("wrong", &[2]);
    let house = House::open(&recording.root);
    for (target, words) in [
        ("/get?path=cam&duration=1", "invalid start: missing"),
        ("/get?path=cam&start=2026-01-01T00:00:00Z", "invalid duration: missing"),
        (
            "/get?path=cam&start=now&duration=1",
            "invalid start: 'now' is not a time",
        ),
        ("/get?path=cam&start=9999-01-01T00:00:00Z&duration=1", "invalid start"),
        (
            "/get?path=cam&start=2026-01-01T00:00:00Z&duration=-1",
            "invalid duration",
        ),
        (
            "/get?path=cam&start=2026-01-01T00:00:00Z&duration=NaN",
            "invalid duration",
        ),
        (
            "/get?path=cam&start=2026-01-01T00:00:00Z&duration=1e99",
            "invalid duration",
        ),
        (
            "/get?path=cam&start=2026-01-01T00:00:00Z&duration=1&format=avi",
            "invalid format: avi",
        ),
        ("/get?start=2026-01-01T00:00:00Z&duration=1", "invalid path name"),
        ("/list?path=..%2Fcam", "invalid path name"),
        ("/list?path=cam&start=x", "invalid start"),
        (
            "/list?path=cam&start=2026-01-01T00:00:09Z&end=2026-01-01T00:00:08Z",
            "invalid end",
        ),
        ("/list?path=unconfigured", "path 'unconfigured' is not configured"),
        (
            "/vod/cam/index.m3u8?start=2026-01-01T00:00:00Z&duration=9000000",
            "invalid duration",
        ),
    ] {
        let answer = house.get(target).await;
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.error().starts_with(words), "{target}: {}", answer.error());
    }
    for target in [
        "/list?path=other",
        "/get?path=cam&start=2025-01-01T00:00:00Z&duration=1",
        "/x",
        "/",
        "/vod/cam/1/2_3/4-5.m4s",
    ] {
        assert_eq!(house.get(target).await.status, 404, "{target}");
    }
    let secret = house.get("/list?path=secret").await;
    assert_eq!((secret.status, secret.error().as_str()), (401, "authentication error"));
    assert!(secret.header("www-authenticate").is_some());
    assert_eq!(house.ask("POST", "/list?path=cam", &[]).await.status, 405);
}
