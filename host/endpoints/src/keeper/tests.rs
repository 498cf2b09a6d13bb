//! Paths of a real hub, commands that are real processes. Where only time passes, the clock is the test's own.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant as StdInstant,
};

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use uuid::Uuid;
use wasmtx_hub::{
    Answer, Client, CloseReason, Hub, PathConfig, Protocol, Publisher, ReadError, Resolver, Role, Rule, Rules,
};
use wasmtx_media::{Codec, Kind, Track, TrackId, Tracks};

use super::*;
use crate::{
    hooks::{Pair, tests::Directory},
    source::{
        Manner, Transport,
        tests::{Origin, Setup},
    },
    wall_clock,
};

/// A hub with one rule, its keeper, and the plan that a test may change.
struct World {
    hub: Hub,
    keeper: Keeper,
    runner: Runner,
    plan: Arc<Mutex<Arc<PathPlan>>>,
}

impl World {
    fn new(rule: &str, plan: PathPlan) -> World {
        World::with_resolver(rule, plan, None)
    }

    fn with_resolver(rule: &str, plan: PathPlan, resolver: Option<Arc<dyn Resolver>>) -> World {
        let (hub, births) = Hub::new();
        let runner = Runner::new(crate::hooks::Limits::default());
        let mut config = PathConfig::default();
        config.on_demand = plan.on_demand.is_some();
        config.override_publisher = true;
        config.resolver = resolver;
        config.role = if plan.source.is_some() {
            Role::Source
        } else {
            Role::Publisher
        };
        let plan = Arc::new(Mutex::new(Arc::new(plan)));
        let plans = plan.clone();
        let puller = Puller::new(hub.clone(), source::STARTING);
        let lookup = move |_: &Path| plans.lock().clone();
        let keeper = Keeper::spawn(births, lookup, runner.clone(), puller, 8554);
        hub.configure(
            StdInstant::now(),
            Rules::new(vec![Rule::new(rule, Arc::new(config)).unwrap()]),
        );
        World {
            hub,
            keeper,
            runner,
            plan,
        }
    }

    fn publish(&self, name: &str) -> Publisher {
        let client = client("user=1");
        let peer = Peer {
            kind: "rtspSession",
            id: client.id,
        };
        let name = PathName::new(name).unwrap();
        self.hub
            .publish(
                StdInstant::now(),
                wall_clock(),
                &name,
                peer,
                Some(client),
                None,
                tracks(),
            )
            .unwrap()
    }

    async fn describe(&self, name: &str, query: &str) -> Result<(), ReadError> {
        let name = PathName::new(name).unwrap();
        self.hub.describe(StdInstant::now(), &name, query, None).await.map(drop)
    }

    fn change(&self, change: impl FnOnce(&mut PathPlan)) {
        let mut plan = self.plan.lock();
        change(Arc::make_mut(&mut plan));
        drop(plan);
        self.keeper.reload();
    }
}

fn client(query: &str) -> Arc<Client> {
    Arc::new(Client {
        id: Uuid::from_u128(7),
        protocol: Protocol::Rtsp,
        address: Ipv4Addr::LOCALHOST.into(),
        agent: None,
        query: query.to_owned(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    })
}

fn tracks() -> Tracks {
    let codec = Codec::Opus { channels: 2 };
    Arc::new([Track {
        id: TrackId(0),
        kind: Kind::Audio,
        codec,
        clock_rate: 48_000,
        extra: Vec::new(),
        derived: None,
    }])
}

/// A command that notes its name when it starts and when it is ended, and then stays.
fn staying(dir: &Directory, name: &str) -> Hook {
    let body = format!(
        r#"trap 'echo {name} end >> "$OUT"; exit 0' INT
           echo {name} $MTX_PATH $MTX_QUERY $G1 $MTX_SOURCE_TYPE $MTX_SOURCE_ID $RTSP_PORT $RTSP_PATH >> "$OUT"
           while :; do sleep 0.01; done"#
    );
    Hook {
        command: dir.script(&body),
        restart: false,
    }
}

/// A command that notes its name and ends.
fn noting(dir: &Directory, name: &str) -> Hook {
    Hook {
        command: dir.script(&format!(r#"echo {name} $MTX_PATH $MTX_QUERY >> "$OUT""#)),
        restart: false,
    }
}

fn demand_hooks(dir: &Directory) -> Hooks {
    let demand = Pair {
        during: staying(dir, "demand"),
        after: noting(dir, "undemand"),
    };
    Hooks {
        demand,
        ..Hooks::default()
    }
}

const BUDGET: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn readers_are_refused_when_the_path_does_not_come_online_in_time() {
    let timing = Timing {
        start_timeout: Duration::from_secs(7),
        close_after: Duration::from_secs(1),
    };
    let world = World::new(
        "~^cam(.*)$",
        PathPlan {
            on_demand: Some(timing),
            ..PathPlan::default()
        },
    );
    let start = Instant::now();
    assert_eq!(world.describe("cam1", "").await, Err(ReadError::NotPublished));
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(
        world.describe("cam1", "").await,
        Err(ReadError::NotPublished),
        "at once: the path rests"
    );
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(
        world.describe("cam2", "").await,
        Err(ReadError::NotPublished),
        "another path does not"
    );
    assert_eq!(start.elapsed().as_secs(), 14);
    world.keeper.close(BUDGET).await;
}

#[tokio::test]
async fn a_command_brings_a_path_online_on_demand_and_goes_with_the_last_reader() {
    let dir = Directory::new();
    let timing = Timing {
        start_timeout: Duration::from_secs(60),
        close_after: Duration::from_millis(20),
    };
    let hooks = demand_hooks(&dir);
    let world = World::new(
        "~^cam(.*)$",
        PathPlan {
            on_demand: Some(timing),
            hooks,
            ..PathPlan::default()
        },
    );
    let publisher = async {
        dir.wait_for("demand cam1 a%3D1 1 8554 cam1\n").await;
        world.publish("cam1")
    };
    let name = PathName::new("cam1").unwrap();
    let peer = Peer {
        kind: "rtspSession",
        id: Uuid::nil(),
    };
    let (reader, publisher) = tokio::join!(world.hub.read(StdInstant::now(), &name, peer, client("a=1")), publisher);
    drop(reader.unwrap());
    dir.wait_for("demand end\n").await;
    dir.wait_for("undemand cam1 a%3D1\n").await;
    drop(publisher);
    world.keeper.close(BUDGET).await;
    assert_eq!(world.runner.children(), 0);
}

#[tokio::test]
async fn a_source_is_pulled_while_somebody_reads() {
    let origin = Origin::start(Setup::default());
    let timing = Timing {
        start_timeout: Duration::from_secs(60),
        close_after: Duration::from_millis(20),
    };
    let source = Some(origin.plan(Transport::Tcp, ""));
    let world = World::new(
        "~^copy(.*)$",
        PathPlan {
            source,
            on_demand: Some(timing),
            ..PathPlan::default()
        },
    );
    let name = PathName::new("copy1").unwrap();
    let peer = Peer {
        kind: "rtspSession",
        id: Uuid::nil(),
    };
    let reader = world
        .hub
        .read(StdInstant::now(), &name, peer, client(""))
        .await
        .unwrap();
    let publication = reader.publication().clone();
    let mut status = reader.path().watch();
    drop(reader);
    status.wait_for(|status| status.closed).await.unwrap();
    assert_eq!(publication.ended(), Some(CloseReason::Ended));
    world.keeper.close(BUDGET).await;
}

/// Finds every path's stream in the same place, and counts how often it was asked.
struct Finding {
    url: String,
    hosts: &'static [&'static str],
    asked: AtomicUsize,
}

impl Resolver for Finding {
    fn resolve(&self, _path: &PathName, _client: &Arc<Client>) -> BoxFuture<'static, Answer> {
        self.asked.fetch_add(1, Relaxed);
        let found = Found {
            url: self.url.clone(),
            hosts: self.hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        Box::pin(std::future::ready(Answer::Source(Arc::new(found))))
    }
}

/// A world whose paths are found at `url`, where nobody waits long.
fn finding(url: String, hosts: &'static [&'static str], start_timeout: Duration) -> (World, Arc<Finding>) {
    let finding = Arc::new(Finding {
        url,
        hosts,
        asked: AtomicUsize::new(0),
    });
    let manner = Manner {
        read_timeout: Duration::from_secs(10),
    };
    let timing = Timing {
        start_timeout,
        close_after: Duration::from_millis(20),
    };
    let plan = PathPlan {
        found: (manner, timing),
        ..PathPlan::default()
    };
    let world = World::with_resolver("~^copy(.*)$", plan, Some(finding.clone()));
    (world, finding)
}

#[tokio::test]
async fn what_a_resolver_finds_is_pulled_while_somebody_reads_and_looked_for_again_afterwards() {
    let origin = Origin::start(Setup::default());
    let (world, finding) = finding(origin.url(""), &["127.0.0.1"], Duration::from_secs(60));
    let name = PathName::new("copy1").unwrap();
    let peer = Peer {
        kind: "rtspSession",
        id: Uuid::nil(),
    };
    for round in 1..=2 {
        let reader = world
            .hub
            .read(StdInstant::now(), &name, peer, client(""))
            .await
            .unwrap();
        let publication = reader.publication().clone();
        let mut status = reader.path().watch();
        drop(reader);
        status.wait_for(|status| status.closed).await.unwrap();
        assert_eq!(publication.ended(), Some(CloseReason::Ended));
        assert_eq!(finding.asked.load(Relaxed), round);
    }
    world.keeper.close(BUDGET).await;
}

#[tokio::test]
async fn an_address_that_is_neither_public_nor_listed_is_not_connected_to() {
    let origin = Origin::start(Setup::default());
    let start_timeout = Duration::from_millis(300);
    for hosts in [&[][..], &["10.0.0.0/8"], &["127.0.0.1:1"]] {
        let (world, _) = finding(origin.url(""), hosts, start_timeout);
        let name = PathName::new("copy1").unwrap();
        let asker = client("");
        let described = world.hub.describe(StdInstant::now(), &name, "", Some(&asker)).await;
        assert_eq!(described.map(drop), Err(ReadError::NotPublished), "{hosts:?}");
        world.keeper.close(BUDGET).await;
    }
}

#[tokio::test]
async fn what_is_no_source_is_refused_at_once_and_not_asked_for_again() {
    for url in ["http://127.0.0.1/x", "file:///etc/passwd", "rtsp://", "nonsense"] {
        let (world, finding) = finding(url.to_owned(), &["127.0.0.1"], Duration::from_secs(60));
        let name = PathName::new("copy1").unwrap();
        let asker = client("");
        for _ in 0..2 {
            let described = world.hub.describe(StdInstant::now(), &name, "", Some(&asker)).await;
            assert_eq!(described.map(drop), Err(ReadError::NotPublished), "{url}");
        }
        assert_eq!(finding.asked.load(Relaxed), 1, "{url}");
        world.keeper.close(BUDGET).await;
    }
}

#[tokio::test]
async fn a_source_that_nobody_has_to_ask_for_runs_until_a_reload_takes_it_away() {
    let origin = Origin::start(Setup::default());
    let source = Some(origin.plan(Transport::Tcp, ""));
    let world = World::new(
        "copy",
        PathPlan {
            source,
            ..PathPlan::default()
        },
    );
    let path = world.hub.path(&PathName::new("copy").unwrap()).unwrap();
    let mut status = path.watch();
    status.wait_for(|status| status.publication.is_some()).await.unwrap();
    world.change(|plan| plan.source = None);
    status.wait_for(|status| status.publication.is_none()).await.unwrap();
    world.keeper.close(BUDGET).await;
}

#[tokio::test]
async fn commands_follow_a_publication_from_its_start_to_its_end() {
    let dir = Directory::new();
    let available = Pair {
        during: staying(&dir, "available"),
        after: noting(&dir, "unavailable"),
    };
    let online = Pair {
        during: staying(&dir, "online"),
        after: noting(&dir, "offline"),
    };
    let hooks = Hooks {
        available,
        online,
        ..Hooks::default()
    };
    let world = World::new(
        "cam",
        PathPlan {
            hooks,
            ..PathPlan::default()
        },
    );
    let publisher = world.publish("cam");
    dir.wait_for(&format!(
        "available cam user%3D1 rtspSession {} 8554 cam\n",
        Uuid::from_u128(7)
    ))
    .await;
    dir.wait_for("online cam user%3D1").await;
    publisher.close(StdInstant::now(), CloseReason::Ended);
    for text in [
        "available end\n",
        "online end\n",
        "unavailable cam user%3D1\n",
        "offline cam user%3D1\n",
    ] {
        dir.wait_for(text).await;
    }
    world.keeper.close(BUDGET).await;
    assert_eq!(world.runner.children(), 0);
}

#[tokio::test]
async fn a_command_of_the_path_itself_runs_until_the_server_stops() {
    let dir = Directory::new();
    let hooks = Hooks {
        init: staying(&dir, "init"),
        ..Hooks::default()
    };
    let world = World::new(
        "cam",
        PathPlan {
            hooks,
            ..PathPlan::default()
        },
    );
    dir.wait_for("init cam 8554 cam\n").await;
    world.hub.shut_down();
    world.keeper.close(BUDGET).await;
    assert!(dir.out().contains("init end\n"));
    assert_eq!(world.runner.children(), 0);
}

#[tokio::test]
async fn stopping_the_server_still_tells_that_the_stream_is_gone() {
    let dir = Directory::new();
    let available = Pair {
        during: staying(&dir, "available"),
        after: noting(&dir, "unavailable"),
    };
    let world = World::new(
        "cam",
        PathPlan {
            hooks: Hooks {
                available,
                ..Hooks::default()
            },
            ..PathPlan::default()
        },
    );
    let _publisher = world.publish("cam");
    dir.wait_for("available cam").await;
    world.keeper.close(BUDGET).await;
    assert!(dir.out().contains("unavailable cam user%3D1\n"), "{}", dir.out());
    assert_eq!(world.runner.children(), 0);
}

#[tokio::test]
async fn a_reload_restarts_only_what_changed() {
    let dir = Directory::new();
    let available = Pair {
        during: staying(&dir, "available"),
        after: Hook::default(),
    };
    let hooks = Hooks {
        init: staying(&dir, "init"),
        available,
        ..Hooks::default()
    };
    let world = World::new(
        "cam",
        PathPlan {
            hooks,
            ..PathPlan::default()
        },
    );
    let _publisher = world.publish("cam");
    dir.wait_for("init cam").await;
    dir.wait_for("available cam").await;
    let other = staying(&dir, "other");
    world.change(|plan| plan.hooks.init = other);
    dir.wait_for("other cam").await;
    assert!(dir.out().contains("init end\n"));
    assert!(!dir.out().contains("available end\n"));
    world.keeper.close(BUDGET).await;
}

#[tokio::test]
async fn a_path_that_goes_takes_its_commands_along() {
    let dir = Directory::new();
    let hooks = Hooks {
        init: staying(&dir, "init"),
        ..Hooks::default()
    };
    let world = World::new(
        "cam",
        PathPlan {
            hooks,
            ..PathPlan::default()
        },
    );
    dir.wait_for("init cam").await;
    world.hub.configure(StdInstant::now(), Rules::default());
    dir.wait_for("init end\n").await;
    while world.runner.children() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    world.keeper.close(BUDGET).await;
}
