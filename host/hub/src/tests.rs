//! Publishers and readers through the hub, with a clock that moves because the test says so.

mod offered;
mod resolver;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks, WallClock};

use crate::*;

const VIDEO: TrackId = TrackId(0);

fn tracks(codec: Codec) -> Tracks {
    Arc::from([Track {
        id: VIDEO,
        kind: Kind::Video,
        codec,
        clock_rate: 90_000,
        extra: Vec::new(),
        derived: None,
    }])
}

fn frame(pts: i64, key: bool) -> Frame {
    Frame {
        track: VIDEO,
        number: 0,
        pts,
        dts: pts,
        duration: 0,
        wall: None,
        flags: Flags::NONE.set(Flags::KEY, key),
        payload: Bytes::from_static(b"picture").into(),
    }
}

fn peer() -> Peer {
    Peer {
        kind: "rtspSession",
        id: Uuid::from_u128(1),
    }
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        id: Uuid::from_u128(2),
        protocol: Protocol::Rtsp,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        agent: None,
        query: "key=value".to_owned(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    })
}

fn name(text: &str) -> PathName {
    PathName::new(text).unwrap()
}

struct House {
    hub: Hub,
    now: Instant,
}

impl House {
    fn new(rules: &[(&str, PathConfig)]) -> House {
        let hub = Hub::new().0;
        let now = Instant::now();
        hub.configure(now, rules_of(rules));
        House { hub, now }
    }

    fn publish(&self, path: &str) -> Result<Publisher, PublishError> {
        self.publish_tracks(path, tracks(Codec::Vp8))
    }

    fn publish_tracks(&self, path: &str, tracks: Tracks) -> Result<Publisher, PublishError> {
        self.hub.publish(
            self.now,
            WallClock(1),
            &name(path),
            peer(),
            Some(client()),
            None,
            tracks,
        )
    }

    async fn read(&self, path: &str) -> Result<Reader, ReadError> {
        self.hub.read(self.now, &name(path), peer(), client()).await
    }
}

fn rules_of(rules: &[(&str, PathConfig)]) -> Rules {
    Rules::new(
        rules
            .iter()
            .map(|(key, config)| Rule::new(key, Arc::new(config.clone())).unwrap())
            .collect(),
    )
}

fn open() -> PathConfig {
    PathConfig {
        override_publisher: true,
        ..PathConfig::default()
    }
}

fn drain(reader: &mut Reader) -> (Vec<i64>, Drained) {
    let (mut out, mut lost) = (Vec::new(), 0);
    let drained = reader.drain(usize::MAX, usize::MAX, &mut out, &mut lost);
    (out.iter().map(|entry| entry.frame.pts).collect(), drained)
}

#[tokio::test]
async fn what_is_published_is_read_and_the_end_is_told() {
    let house = House::new(&[("all_others", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    publisher.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    assert_eq!(drain(&mut reader), (vec![0], Drained::Empty));
    publisher.push(house.now, WallClock(1), frame(3_000, false)).unwrap();
    reader.wait().await;
    publisher.close(house.now, CloseReason::Ended);
    assert_eq!(drain(&mut reader), (vec![3_000], Drained::Ended(CloseReason::Ended)));
}

#[tokio::test]
async fn a_path_that_nobody_publishes_is_not_read() {
    let house = House::new(&[("cam1", open())]);
    assert_eq!(house.read("cam1").await.unwrap_err(), ReadError::NotPublished);
    assert_eq!(house.read("cam2").await.unwrap_err(), ReadError::NotConfigured);
    assert_eq!(house.publish("cam2").unwrap_err(), PublishError::NotConfigured);
}

#[tokio::test]
async fn a_second_publisher_is_refused_when_it_may_not_override() {
    let house = House::new(&[("cam1", PathConfig::default())]);
    let _first = house.publish("cam1").unwrap();
    assert_eq!(house.publish("cam1").unwrap_err(), PublishError::Occupied);
}

#[tokio::test]
async fn a_newcomer_with_the_same_tracks_takes_over_at_a_keyframe_and_readers_stay() {
    let mut house = House::new(&[("cam1", open())]);
    let mut first = house.publish("cam1").unwrap();
    first.push(house.now, WallClock(1), frame(90_000, true)).unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    assert_eq!(drain(&mut reader).0, [90_000]);

    house.now += Duration::from_secs(2);
    let mut second = house.publish("cam1").unwrap();
    assert_eq!(
        first.push(house.now, WallClock(1), frame(93_000, false)),
        Err(CloseReason::Replaced)
    );
    assert_eq!(first.notices().next().await, Notice::Stop(CloseReason::Replaced));
    drop(first);
    second.push(house.now, WallClock(1), frame(5, false)).unwrap();
    second.push(house.now, WallClock(1), frame(10, true)).unwrap();
    second.push(house.now, WallClock(1), frame(3_010, false)).unwrap();
    assert_eq!(
        drain(&mut reader),
        (vec![270_000, 273_000], Drained::Empty),
        "on the first one's clock, two seconds on"
    );
}

#[tokio::test]
async fn a_newcomer_with_other_tracks_begins_a_new_generation() {
    let house = House::new(&[("cam1", open())]);
    let first = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    let second = house.publish_tracks("cam1", tracks(Codec::Vp9)).unwrap();
    assert_eq!(drain(&mut reader).1, Drained::Ended(CloseReason::Replaced));
    assert_eq!(second.publication().generation, first.publication().generation + 1);
}

#[tokio::test]
async fn changed_parameters_keep_readers_and_changed_codecs_do_not() {
    let house = House::new(&[("cam1", open())]);
    let with_sps = |sps: &'static [u8]| {
        tracks(Codec::H264(wasmtx_media::codec::h264::Parameters {
            sps: Bytes::from_static(sps),
            pps: Bytes::from_static(b"pps"),
        }))
    };
    let mut publisher = house.publish_tracks("cam1", with_sps(b"old")).unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    publisher.set_tracks(house.now, with_sps(b"new")).unwrap();
    publisher.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let (mut out, mut lost) = (Vec::new(), 0);
    assert_eq!(reader.drain(9, 9_000, &mut out, &mut lost), Drained::Empty);
    assert_eq!(
        out[0].tracks,
        with_sps(b"new"),
        "the frame knows the parameters it needs"
    );

    publisher.set_tracks(house.now, tracks(Codec::Vp8)).unwrap();
    assert_eq!(drain(&mut reader).1, Drained::Ended(CloseReason::Replaced));
}

#[tokio::test]
async fn max_readers_holds_and_a_leaver_makes_room() {
    let house = House::new(&[(
        "cam1",
        PathConfig {
            max_readers: 1,
            ..PathConfig::default()
        },
    )]);
    let _publisher = house.publish("cam1").unwrap();
    let first = house.read("cam1").await.unwrap();
    assert_eq!(house.read("cam1").await.unwrap_err(), ReadError::TooManyReaders);
    drop(first);
    house.read("cam1").await.unwrap();
}

#[tokio::test]
async fn a_reader_waits_for_a_path_that_comes_on_demand() {
    let house = House::new(&[(
        "~^live/(.*)$",
        PathConfig {
            on_demand: true,
            ..open()
        },
    )]);
    let hub = house.hub.clone();
    let now = house.now;
    let reading = tokio::spawn(async move { hub.read(now, &name("live/a"), peer(), client()).await });
    let path = loop {
        tokio::task::yield_now().await;
        if let Some(path) = house.hub.path(&name("live/a")) {
            break path;
        }
    };
    assert_eq!(*path.groups(), ["a"]);
    let mut status = path.watch();
    let wanted = status.wait_for(PathStatus::wanted).await.unwrap().clone();
    assert_eq!(wanted.query, "key=value");
    let _publisher = house.publish("live/a").unwrap();
    assert!(reading.await.unwrap().is_ok());
}

#[tokio::test]
async fn who_waits_in_vain_is_sent_away_and_the_path_is_forgotten() {
    let house = House::new(&[(
        "all_others",
        PathConfig {
            on_demand: true,
            ..open()
        },
    )]);
    let hub = house.hub.clone();
    let now = house.now;
    let reading = tokio::spawn(async move { hub.read(now, &name("x"), peer(), client()).await });
    let path = loop {
        tokio::task::yield_now().await;
        if let Some(path) = house.hub.path(&name("x")) {
            break path;
        }
    };
    path.watch().wait_for(PathStatus::wanted).await.unwrap();
    path.refuse_waiting();
    assert_eq!(reading.await.unwrap().unwrap_err(), ReadError::NotPublished);
    assert!(house.hub.path(&name("x")).is_none());
    assert!(path.watch().borrow().closed);
}

#[tokio::test]
async fn a_redirect_sends_readers_elsewhere_and_takes_no_publisher() {
    let role = Role::Redirect("rtsp://elsewhere/x".to_owned());
    let house = House::new(&[("cam1", PathConfig { role, ..open() })]);
    assert_eq!(
        house.read("cam1").await.unwrap_err(),
        ReadError::Redirect("rtsp://elsewhere/x".to_owned())
    );
    assert_eq!(house.publish("cam1").unwrap_err(), PublishError::NotForPublishers);
}

#[tokio::test]
async fn a_reload_closes_only_paths_that_became_invalid() {
    let house = House::new(&[("cam1", open()), ("cam2", open())]);
    let mut kept = house.publish("cam1").unwrap();
    let mut gone = house.publish("cam2").unwrap();
    house.hub.configure(
        house.now,
        rules_of(&[(
            "cam1",
            PathConfig {
                max_readers: 3,
                ..open()
            },
        )]),
    );
    assert_eq!(kept.push(house.now, WallClock(1), frame(0, true)), Ok(()));
    assert_eq!(kept.path().config().max_readers, 3);
    assert_eq!(
        gone.push(house.now, WallClock(1), frame(0, true)),
        Err(CloseReason::Reload)
    );
}

#[tokio::test]
async fn a_path_that_gets_or_loses_an_entry_of_its_own_goes_on_under_the_one_that_matches() {
    let house = House::new(&[("all_others", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    let reader = house.read("cam1").await.unwrap();
    let path = house.hub.path(&name("cam1")).unwrap();
    house.hub.configure(
        house.now,
        rules_of(&[
            ("all_others", open()),
            (
                "cam1",
                PathConfig {
                    max_readers: 3,
                    ..open()
                },
            ),
        ]),
    );
    assert_eq!((&*path.rule(), path.config().max_readers), ("cam1", 3));
    assert_eq!(publisher.push(house.now, WallClock(1), frame(0, true)), Ok(()));

    house.hub.configure(house.now, rules_of(&[("~^(cam).$", open())]));
    assert_eq!((&*path.rule(), &*path.groups()), ("~^(cam).$", &["cam".to_owned()][..]));
    assert_eq!(publisher.push(house.now, WallClock(1), frame(3_000, false)), Ok(()));
    drop((publisher, reader));
    assert!(house.hub.path(&name("cam1")).is_none(), "nobody uses it any more");
}

#[tokio::test]
async fn an_idle_path_without_an_entry_of_its_own_is_forgotten_by_a_reload() {
    let house = House::new(&[("cam1", open())]);
    house.hub.configure(house.now, rules_of(&[("all_others", open())]));
    assert!(house.hub.path(&name("cam1")).is_none());
}

#[tokio::test]
async fn a_publisher_dropped_without_a_word_takes_the_path_offline() {
    let house = House::new(&[("all_others", open())]);
    let publisher = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    drop(publisher);
    assert_eq!(drain(&mut reader).1, Drained::Ended(CloseReason::Failed));
    drop(reader);
    assert!(house.hub.path(&name("cam1")).is_none(), "nobody uses it any more");
}

#[tokio::test]
async fn a_newcomer_whose_video_has_no_known_keyframes_takes_over_at_once() {
    let house = House::new(&[("cam1", open())]);
    let unknown = || {
        tracks(Codec::Generic {
            payload_type: 96,
            rtpmap: "X-NEW/90000".to_owned(),
            fmtp: String::new(),
        })
    };
    let mut first = house.publish_tracks("cam1", unknown()).unwrap();
    first.push(house.now, WallClock(1), frame(0, false)).unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    drain(&mut reader);
    let mut second = house.publish_tracks("cam1", unknown()).unwrap();
    second.push(house.now, WallClock(1), frame(0, false)).unwrap();
    assert_eq!(drain(&mut reader).0.len(), 1);
}

/// Lets somebody else publish on the same path whenever it is asked something.
struct Meddling {
    hub: OnceLock<Hub>,
    newcomers: Mutex<Vec<Publisher>>,
}

impl Meddling {
    fn house() -> (Arc<Meddling>, House) {
        let meddling = Arc::new(Meddling {
            hub: OnceLock::new(),
            newcomers: Mutex::default(),
        });
        let stages = Arc::new(Meddler(meddling.clone()));
        let house = House::new(&[(
            "all_others",
            PathConfig {
                stages: Some(stages),
                ..open()
            },
        )]);
        assert!(meddling.hub.set(house.hub.clone()).is_ok());
        (meddling, house)
    }

    fn publish(&self, path: &PathName, tracks: Tracks) -> Result<Publisher, PublishError> {
        let hub = self.hub.get().unwrap();
        hub.publish(Instant::now(), WallClock(1), path, peer(), Some(client()), None, tracks)
    }
}

struct Meddler(Arc<Meddling>);

impl Stages for Meddler {
    fn stage(&self, path: &PathName) -> Result<Box<dyn Stage>, Refusal> {
        assert_eq!(self.0.publish(path, Arc::from([])).unwrap_err(), PublishError::Tracks);
        Ok(Box::new(MeddlingStage(self.0.clone())))
    }
}

struct MeddlingStage(Arc<Meddling>);

impl Stage for MeddlingStage {
    fn open(&mut self, _: Instant, opening: &Opening) -> Result<Tracks, Refusal> {
        Ok(opening.tracks.clone())
    }
    fn frame(&mut self, _: Instant, frame: Frame, output: &mut Output) -> Flow {
        if frame.pts == 13 {
            let newcomer = self.0.publish(&name("cam1"), tracks(Codec::Vp8)).unwrap();
            self.0.newcomers.lock().push(newcomer);
        }
        output.frames.push(frame);
        Flow::Continue
    }
    fn close(&mut self, _: Instant, _: CloseReason, _: &mut Output) {}
}

#[tokio::test]
async fn a_path_is_not_forgotten_while_somebody_is_about_to_publish_on_it() {
    let (_meddling, house) = Meddling::house();
    let publisher = house.publish("cam1").unwrap();
    drop(publisher);
    assert!(house.hub.path(&name("cam1")).is_none(), "nobody uses it any more");
    assert_eq!(
        house.publish_tracks("cam1", Arc::from([])).unwrap_err(),
        PublishError::Tracks
    );
    assert!(house.hub.path(&name("cam1")).is_none(), "nobody came to use it");
}

#[tokio::test]
async fn no_frame_of_the_publisher_before_comes_after_a_takeover() {
    let (meddling, house) = Meddling::house();
    let mut first = house.publish("cam1").unwrap();
    first.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    assert_eq!(drain(&mut reader).0, [0]);
    let _ = first.push(house.now, WallClock(1), frame(13, false));
    assert_eq!(drain(&mut reader), (vec![], Drained::Empty));
    meddling.newcomers.lock().clear();
}

/// Doubles every frame, and counts what it makes.
struct Twice;

impl Stage for Twice {
    fn open(&mut self, _: Instant, opening: &Opening) -> Result<Tracks, Refusal> {
        Ok(opening.tracks.clone())
    }
    fn frame(&mut self, _: Instant, frame: Frame, output: &mut Output) -> Flow {
        if frame.pts == 13 {
            return Flow::Close("unlucky".to_owned());
        }
        output.frames.push(frame.clone());
        output.frames.push(frame);
        Flow::Continue
    }
    fn close(&mut self, _: Instant, _: CloseReason, output: &mut Output) {
        output.frames.push(frame(99, false));
    }
}

impl Stages for Twice {
    fn stage(&self, _: &PathName) -> Result<Box<dyn Stage>, Refusal> {
        Ok(Box::new(Twice))
    }
}

#[tokio::test]
async fn a_stage_decides_what_readers_see_and_may_close_the_stream() {
    let house = House::new(&[(
        "cam1",
        PathConfig {
            stages: Some(Arc::new(Twice)),
            ..open()
        },
    )]);
    let mut publisher = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    publisher.push(house.now, WallClock(1), frame(1, true)).unwrap();
    assert_eq!(drain(&mut reader).0, [1, 1]);
    assert_eq!(
        publisher.push(house.now, WallClock(1), frame(13, true)),
        Err(CloseReason::Kicked)
    );
    assert_eq!(publisher.path().closed_by_stage().as_deref(), Some("unlucky"));
    publisher.close(house.now, CloseReason::Ended);
    assert_eq!(drain(&mut reader), (vec![99], Drained::Ended(CloseReason::Ended)));
}

#[tokio::test]
async fn another_chain_takes_over_a_running_stream_before_the_next_frame() {
    let house = House::new(&[("cam1", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    publisher.push(house.now, WallClock(1), frame(1, true)).unwrap();
    let doubled = PathConfig {
        stages: Some(Arc::new(Twice)),
        ..open()
    };
    house.hub.configure(house.now, rules_of(&[("cam1", doubled)]));
    publisher.push(house.now, WallClock(1), frame(2, false)).unwrap();
    house.hub.configure(house.now, rules_of(&[("cam1", open())]));
    publisher.push(house.now, WallClock(1), frame(3, false)).unwrap();
    assert_eq!(
        drain(&mut reader),
        (vec![1, 2, 2, 99, 3], Drained::Empty),
        "what the old chain held comes first"
    );
}

struct Spelled(Arc<AtomicUsize>);

impl Form for Spelled {
    type Wire = String;
    fn make(&mut self, entry: &Entry) -> String {
        self.0.fetch_add(1, Ordering::Relaxed);
        format!("{}:{}", entry.index, entry.frame.pts)
    }
}

#[tokio::test]
async fn a_wire_form_is_made_once_for_all_readers_and_never_without_one() {
    let house = House::new(&[("cam1", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    publisher.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let reader = house.read("cam1").await.unwrap();
        let lane = reader.publication().lane(|_| Spelled(made.clone()));
        readers.push((reader, lane));
    }
    publisher.push(house.now, WallClock(1), frame(1, false)).unwrap();
    for (reader, lane) in &mut readers {
        let (mut entries, mut wires, mut lost) = (Vec::new(), Vec::new(), 0);
        reader.drain(9, 9_000, &mut entries, &mut lost);
        lane.wires(&entries, &mut wires);
        let texts: Vec<&str> = wires.iter().map(|wire| wire.as_str()).collect();
        assert_eq!(texts, ["0:0", "1:1"]);
    }
    assert_eq!(made.load(Ordering::Relaxed), 2);
    readers.clear();
    publisher.push(house.now, WallClock(1), frame(2, false)).unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_a_reader_took_has_a_wire_form_however_much_is_published_before_it_asks() {
    let house = House::new(&[("cam1", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    let lane = reader.publication().lane(|_| Spelled(Arc::default()));
    let mut texts = Vec::new();
    for round in 0..5 {
        let push = |publisher: &mut Publisher, number: i64| {
            // Each begins a GOP, and comes so late that the ring's tail is looked at.
            let now = house.now + Duration::from_secs(number.unsigned_abs());
            publisher.push(now, WallClock(1), frame(number, true)).unwrap();
        };
        push(&mut publisher, round * 2);
        let (mut entries, mut wires, mut lost) = (Vec::new(), Vec::new(), 0);
        reader.drain(9, 9_000, &mut entries, &mut lost);
        push(&mut publisher, round * 2 + 1);
        lane.wires(&entries, &mut wires);
        texts.extend(wires.iter().map(|wire| wire.to_string()));
    }
    assert_eq!(texts, ["0:0", "1:1", "2:2", "3:3", "4:4", "5:5", "6:6", "7:7", "8:8"]);
}

#[tokio::test]
async fn frames_that_come_together_wake_a_reader_once() {
    let house = House::new(&[("cam1", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    let mut reader = house.read("cam1").await.unwrap();
    assert_eq!(drain(&mut reader).0, []);
    publisher.push_quietly(house.now, WallClock(1), frame(0, true)).unwrap();
    publisher
        .push_quietly(house.now, WallClock(1), frame(1, false))
        .unwrap();
    {
        let mut waiting = ready_of(reader.wait());
        assert!(!waiting());
        publisher.tell();
        assert!(waiting());
    }
    assert_eq!(drain(&mut reader).0, [0, 1]);
    let mut waiting = ready_of(reader.wait());
    publisher.tell();
    assert!(!waiting(), "there is nothing new");
}

/// Asks a future whether it is ready.
fn ready_of(future: impl Future<Output = ()>) -> impl FnMut() -> bool {
    let mut future = Box::pin(future);
    move || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut cx).is_ready()
    }
}

#[tokio::test]
async fn each_variant_of_a_form_has_a_lane_of_its_own() {
    let house = House::new(&[("cam1", open())]);
    let _publisher = house.publish("cam1").unwrap();
    let reader = house.read("cam1").await.unwrap();
    let lane = |variant| reader.publication().lane_of(variant, |_| Spelled(Arc::default()));
    let (first, second) = (lane(1), lane(2));
    assert!(Arc::ptr_eq(&first, &lane(1)));
    assert!(!Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_reader_that_follows_another_gets_what_comes_after() {
    let house = House::new(&[("cam1", open())]);
    let mut publisher = house.publish("cam1").unwrap();
    publisher.push(house.now, WallClock(1), frame(0, true)).unwrap();
    let mut readers = [house.read("cam1").await.unwrap(), house.read("cam1").await.unwrap()];
    let [leader, other] = &mut readers;
    assert_eq!(leader.standing(), other.standing());
    assert_eq!(drain(leader).0, [0]);
    assert_ne!(leader.standing(), other.standing());
    other.follow(leader.standing(), 0);
    assert_eq!(leader.standing(), other.standing());
    publisher.push(house.now, WallClock(1), frame(1, false)).unwrap();
    assert_eq!(drain(other), (vec![1], Drained::Empty));
}

/// The event and where it happened, in a few words.
fn words(feed: &mut Feed) -> Vec<String> {
    std::iter::from_fn(|| feed.try_next())
        .map(|happened| match happened.event {
            Event::Online(opening) => format!(
                "online {} {} {}",
                opening.path,
                opening.generation,
                opening.tracks[0].codec.name()
            ),
            Event::Offline(path, reason) => format!("offline {path} {reason:?}"),
            Event::Reading(path, client) => format!("reading {path} {}", client.address),
            Event::ReadEnded(path, _, reason) => format!("read-ended {path} {reason:?}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn what_happens_on_a_path_is_told_in_order() {
    let house = House::new(&[("all_others", open())]);
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let publisher = house.publish("cam1").unwrap();
    let [leaving, kicked] = [house.read("cam1").await.unwrap(), house.read("cam1").await.unwrap()];
    drop(leaving);
    kicked.close(CloseReason::Kicked);
    let staying = house.read("cam1").await.unwrap();
    publisher.close(house.now, CloseReason::Timeout);
    drop(staying);
    let expected = [
        "online cam1 1 VP8",
        "reading cam1 127.0.0.1",
        "reading cam1 127.0.0.1",
        "read-ended cam1 Ended",
        "read-ended cam1 Kicked",
        "reading cam1 127.0.0.1",
        "offline cam1 Timeout",
        "read-ended cam1 Timeout",
    ];
    assert_eq!(words(&mut feed), expected);
}

#[tokio::test]
async fn another_publisher_and_other_tracks_are_another_stream() {
    let house = House::new(&[("all_others", open())]);
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let _first = house.publish("cam1").unwrap();
    let mut second = house.publish("cam1").unwrap();
    second.set_tracks(house.now, tracks(Codec::Vp9)).unwrap();
    house.hub.shut_down();
    let expected = [
        "online cam1 1 VP8",
        "offline cam1 Replaced",
        "online cam1 1 VP8",
        "offline cam1 Replaced",
        "online cam1 2 VP9",
        "offline cam1 Shutdown",
    ];
    assert_eq!(words(&mut feed), expected);
}

#[tokio::test]
async fn who_attends_sees_the_frames_and_is_no_reader() {
    let config = PathConfig {
        max_readers: 1,
        ..open()
    };
    let house = House::new(&[("all_others", config)]);
    assert!(house.hub.path(&name("cam1")).is_none());
    let mut publisher = house.publish("cam1").unwrap();
    let path = publisher.path().clone();
    publisher.push(house.now, WallClock(1), frame(0, true)).unwrap();
    publisher.push(house.now, WallClock(1), frame(3_000, true)).unwrap();
    let (opening, mut attending) = path.attend(house.now, Duration::ZERO).unwrap();
    assert_eq!((opening.generation, &opening.tracks), (1, &tracks(Codec::Vp8)));
    assert_eq!(opening.publisher, Some(client()));
    assert!(path.readers().is_empty() && !path.watch().borrow().wanted());
    let _reader = house.read("cam1").await.unwrap();

    publisher.close(house.now, CloseReason::Ended);
    assert_eq!(drain(&mut attending), (vec![3_000], Drained::Ended(CloseReason::Ended)));
    assert!(path.attend(house.now, Duration::ZERO).is_none());
}

#[tokio::test]
async fn who_attends_may_see_what_was_before_as_far_as_the_path_keeps_it() {
    let limits = Limits {
        keep_back: Duration::from_secs(3),
        ..Limits::default()
    };
    let mut house = House::new(&[("all_others", PathConfig { limits, ..open() })]);
    let mut publisher = house.publish("cam1").unwrap();
    for second in 0..10 {
        publisher
            .push(house.now, WallClock(1), frame(second * 90_000, true))
            .unwrap();
        house.now += Duration::from_secs(1);
    }
    let begins = |back| {
        let (_, mut attending) = publisher.path().attend(house.now, back).unwrap();
        drain(&mut attending).0[0] / 90_000
    };
    assert_eq!(begins(Duration::ZERO), 9);
    assert_eq!(begins(Duration::from_millis(2_500)), 7);
    assert_eq!(begins(Duration::MAX), 6, "three seconds before the newest frame came");
}

#[tokio::test]
async fn who_comes_late_hears_of_every_path_once() {
    let house = House::new(&[("cam1", open()), ("all_others", open())]);
    let mut births = house.hub.births();
    let _publisher = house.publish("cam2").unwrap();
    let mut born = || births.try_recv().map(|path| path.name.to_string());
    assert_eq!(born().as_deref(), Ok("cam1"));
    assert_eq!(born().as_deref(), Ok("cam2"));
    assert!(born().is_err());
}

#[tokio::test]
async fn a_publisher_is_told_once_of_many_who_want_a_keyframe_and_then_to_stop() {
    let house = House::new(&[("all_others", open())]);
    assert!(!house.hub.request_keyframe(&name("cam1")), "nobody publishes");
    let publisher = house.publish("cam1").unwrap();
    let mut notices = publisher.notices();
    assert!(house.hub.request_keyframe(&name("cam1")));
    assert!(house.hub.request_keyframe(&name("cam1")));
    assert_eq!(notices.next().await, Notice::Keyframe);
    house.hub.request_keyframe(&name("cam1"));
    publisher.path().kick_publisher(CloseReason::Kicked);
    assert_eq!(notices.next().await, Notice::Stop(CloseReason::Kicked));
    assert_eq!(notices.next().await, Notice::Stop(CloseReason::Kicked));
}
