//! Paths of a real hub, and servers that a test plays.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::time::sleep;
use uuid::Uuid;
use wasmtx_hub::{CloseReason, Drained, Hub, PathConfig, PathName, Peer, Publisher, Rule, Rules};
use wasmtx_media::{Codec, Kind, Track, TrackId, WallClock};

use super::*;

/// How servers answer, by host.
#[derive(Clone, Default)]
struct Servers {
    /// URLs as they were reached, one per attempt.
    reached: Arc<Mutex<Vec<String>>>,
    /// URLs of servers that were told the end.
    told: Arc<Mutex<Vec<String>>>,
    /// Whether the server `weak` refuses.
    weak: Arc<Mutex<bool>>,
}

impl Push for Servers {
    fn push<'a>(&'a self, mut attempt: Attempt<'a>) -> BoxFuture<'a, Result<(), String>> {
        self.reached.lock().push(attempt.target.url.clone());
        Box::pin(async move {
            if attempt.target.url.contains("//weak/") && *self.weak.lock() {
                return Err("it is full".to_owned());
            }
            attempt.forward.begin();
            let (mut entries, mut lost) = (Vec::new(), 0);
            while !matches!(
                attempt.reader.drain(10, 1000, &mut entries, &mut lost),
                Drained::Ended(_)
            ) {
                attempt.reader.wait().await;
            }
            // The last words take a moment.
            sleep(Duration::from_millis(5)).await;
            self.told.lock().push(attempt.target.url);
            Ok(())
        })
    }
}

struct World {
    hub: Hub,
    forwarder: Forwarder,
    registry: Registry,
    servers: Servers,
    list: Arc<Mutex<Vec<&'static str>>>,
}

impl World {
    fn new(list: &[&'static str]) -> World {
        let hub = Hub::new().0;
        let rule = Rule::new("~^(.+)$", Arc::new(PathConfig::default())).unwrap();
        let list = Arc::new(Mutex::new(list.to_vec()));
        let (listed, registry, servers) = (list.clone(), Registry::default(), Servers::default());
        let lists = move |_: &Path| -> Destinations {
            let list = listed.lock();
            list.iter().map(|url| Destination::new(url, None).unwrap()).collect()
        };
        let forwarder = Forwarder::with(hub.births(), lists, registry.clone(), servers.clone());
        hub.configure(Instant::now(), Rules::new(vec![rule]));
        World {
            hub,
            forwarder,
            registry,
            servers,
            list,
        }
    }

    fn publish(&self, path: &str) -> Publisher {
        let track = Track {
            id: TrackId(0),
            kind: Kind::Video,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        };
        let peer = Peer {
            kind: "test",
            id: Uuid::from_u128(1),
        };
        let name = PathName::new(path).unwrap();
        let tracks = Arc::from([track]);
        self.hub
            .publish(Instant::now(), WallClock(1), &name, peer, None, None, tracks)
            .unwrap()
    }

    fn states(&self, path: &str) -> Vec<(Uuid, State)> {
        let forwards = self.registry.of(&PathName::new(path).unwrap());
        let positions: Vec<_> = forwards.iter().map(|forward| forward.position()).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        forwards.iter().map(|forward| (forward.id, forward.state().0)).collect()
    }

    /// Waits until the destinations of a path are in these states, and says which they are.
    async fn until(&self, path: &str, expected: &[State]) -> Vec<Uuid> {
        loop {
            let (ids, states): (Vec<_>, Vec<_>) = self.states(path).into_iter().unzip();
            if states == expected {
                return ids;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn reload(&self, list: &[&'static str]) {
        *self.list.lock() = list.to_vec();
        self.forwarder.reload();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_to_every_destination_while_it_is_there() {
    let world = World::new(&["rtmp://one/live/$MTX_PATH", "rtmp://two/$G1/key"]);
    let publisher = world.publish("cam/7");
    let ids = world.until("cam/7", &[State::Forwarding, State::Forwarding]).await;
    let mut reached = world.servers.reached.lock().clone();
    reached.sort();
    assert_eq!(reached, ["rtmp://one/live/cam/7", "rtmp://two/cam/7/key"]);
    assert!(world.hub.paths()[0].readers().is_empty(), "it is nobody's reader");
    assert_eq!(world.states("cam/8"), []);
    assert_eq!(ids.len(), 2);
    // The pattern's path is gone with its publisher, and the destinations with it.
    publisher.close(Instant::now(), CloseReason::Ended);
    world.until("cam/7", &[]).await;
    assert!(world.registry.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_asked_again_and_the_others_notice_nothing() {
    let world = World::new(&["rtmp://weak/live/key", "rtmp://one/live/key"]);
    *world.servers.weak.lock() = true;
    let _publisher = world.publish("cam");
    world.until("cam", &[State::Error, State::Forwarding]).await;
    let name = PathName::new("cam").unwrap();
    assert_eq!(world.registry.of(&name)[0].state().1, "it is full");
    *world.servers.weak.lock() = false;
    let ids = world.until("cam", &[State::Forwarding, State::Forwarding]).await;
    assert_eq!(world.registry.of(&name)[0].id, ids[0]);
    let reached = world.servers.reached.lock().clone();
    assert_eq!(reached.iter().filter(|url| url.contains("one")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_list_ends_what_is_gone_and_leaves_alone_what_stays() {
    let world = World::new(&["rtmp://one/live/key", "rtmp://two/live/key"]);
    let publisher = world.publish("cam");
    let before = world.until("cam", &[State::Forwarding, State::Forwarding]).await;
    world.reload(&["rtmp://three/live/key", "rtmp://two/live/key"]);
    loop {
        let now = world.until("cam", &[State::Forwarding, State::Forwarding]).await;
        if now[0] != before[0] && now[1] == before[1] {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    world.reload(&["rtmp://two/live/key"]);
    assert_eq!(world.until("cam", &[State::Forwarding]).await, before[1..]);
    let reached = world.servers.reached.lock().clone();
    assert_eq!(reached.iter().filter(|url| url.contains("two")).count(), 1);
    assert!(publisher.publication().ended().is_none());
    world.forwarder.close(Duration::from_secs(5)).await;
    assert!(world.registry.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn servers_are_told_the_end_when_this_one_stops() {
    let world = World::new(&["rtmp://one/live/key", "rtmp://weak/live/key"]);
    *world.servers.weak.lock() = true;
    let _publisher = world.publish("cam");
    world.until("cam", &[State::Forwarding, State::Error]).await;
    world.hub.shut_down();
    world.forwarder.close(Duration::from_secs(5)).await;
    assert_eq!(*world.servers.told.lock(), ["rtmp://one/live/key"]);
    assert!(world.registry.all().is_empty());
}
