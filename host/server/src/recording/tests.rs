use std::{env, path::PathBuf, process, time::Instant};

use uuid::Uuid;
use wasmtx_hub::{Peer, Publisher};
use wasmtx_media::{Codec, Kind, Track, TrackId, WallClock};

use super::*;
use crate::{config, force::Force, wiring};

const SOMEBODY: Peer = Peer {
    kind: "test",
    id: Uuid::nil(),
};

/// A directory for recordings, removed at the end.
struct Room(PathBuf);

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A hub with these paths, and who switches recordings there.
fn house(name: &str, paths: &str) -> (Room, Hub, Switches) {
    let place = env::temp_dir().join(format!("wasmtx-switches-{}-{name}", process::id()));
    let text = format!(
        "pathDefaults: {{recordPath: '{}/%path/%s'}}\npaths: {{{paths}}}\n",
        place.display()
    );
    let config = config::parse(&text, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let plugins = Registry::new(None, wiring::services(), Vec::new()).unwrap();
    let force = Force::new(config, &plugins, None).unwrap();
    let (hub, _births) = Hub::new();
    hub.configure(Instant::now(), force.rules.clone());
    let switches = Switches::new(InForce::new(force), plugins, Arc::default());
    (Room(place), hub, switches)
}

fn publish(hub: &Hub, name: &str) -> (Publisher, Arc<Path>) {
    let track = Track {
        id: TrackId(0),
        kind: Kind::Audio,
        codec: Codec::Opus { channels: 2 },
        clock_rate: 48_000,
        extra: Vec::new(),
        derived: None,
    };
    let (name, tracks) = (PathName::new(name).unwrap(), Arc::from([track]));
    let publisher = hub.publish(Instant::now(), WallClock(1), &name, SOMEBODY, None, None, tracks);
    (publisher.unwrap(), hub.path(&name).unwrap())
}

#[tokio::test]
async fn what_a_request_said_holds_until_the_path_is_gone() {
    let (_room, hub, switches) = house("path", "all_others: {}");
    let (publisher, path) = publish(&hub, "cam");
    assert!(!switches.records(&path));
    for _ in 0..2 {
        switches.switch(&path, true).await.unwrap();
        assert!(switches.records(&path));
    }
    drop((publisher, path));
    let (_publisher, path) = publish(&hub, "cam");
    assert!(!switches.records(&path), "it is another path of that name");
}

#[tokio::test]
async fn a_request_stops_what_the_configuration_began_and_begins_it_again() {
    let (_room, hub, switches) = house("request", "cam: {record: yes, recordPreRoll: 3s}, other: {}");
    let cam = hub.path(&PathName::new("cam").unwrap()).unwrap();
    let other = hub.path(&PathName::new("other").unwrap()).unwrap();
    assert!(switches.records(&cam) && !switches.records(&other));
    assert_eq!(switches.attended(&cam).unwrap().back, Duration::from_secs(3));
    let before = switches.attended(&cam).unwrap().sinks;
    switches.switch(&cam, false).await.unwrap();
    assert!(!switches.records(&cam) && !switches.records(&other));
    switches.switch(&cam, true).await.unwrap();
    assert!(Arc::ptr_eq(&switches.attended(&cam).unwrap().sinks, &before));
}
