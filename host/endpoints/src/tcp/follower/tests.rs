use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize},
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;
use wasmtx_hub::{Client, Hub, Limits, PathConfig, PathName, Peer, Protocol, Publisher, Rule, Rules};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock};

use super::{super::Over, *};

/// Writes a frame as its time in brackets, and counts how often the ring was asked for an opening.
#[derive(Default)]
struct Brackets {
    crews: Crews<Follower<Brackets>>,
    openings: Arc<AtomicUsize>,
}

impl Form for Brackets {
    type Wire = Bytes;

    fn make(&mut self, entry: &Entry) -> Bytes {
        Bytes::from(format!("[{}]", entry.frame.pts))
    }
}

impl Broadcast for Brackets {
    fn opening(&mut self, entry: &Entry) -> Bytes {
        self.openings.fetch_add(1, Ordering::Relaxed);
        Bytes::from(format!("<{}>", entry.frame.pts))
    }

    fn crews(&mut self) -> &mut Crews<Follower<Brackets>> {
        &mut self.crews
    }
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    discarded: AtomicU64,
}

impl Tally for Counts {
    fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_discarded(&self, frames: u64) {
        self.discarded.fetch_add(frames, Ordering::Relaxed);
    }
}

struct Stage {
    hub: Hub,
    publisher: Publisher,
    openings: Arc<AtomicUsize>,
}

const NAME: &str = "cam1";

impl Stage {
    fn new(limits: Limits) -> Stage {
        let hub = Hub::new().0;
        let mut config = PathConfig::default();
        config.limits = limits;
        let rule = Rule::new("all_others", Arc::new(config)).unwrap();
        hub.configure(Instant::now(), Rules::new(vec![rule]));
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
        let name = PathName::new(NAME).unwrap();
        let publisher = hub
            .publish(
                Instant::now(),
                WallClock(1),
                &name,
                peer,
                None,
                None,
                Arc::from([track]),
            )
            .unwrap();
        Stage {
            hub,
            publisher,
            openings: Arc::default(),
        }
    }

    fn push(&mut self, pts: i64, key: bool) {
        let frame = Frame {
            track: TrackId(0),
            number: 0,
            pts,
            dts: pts,
            duration: 0,
            wall: None,
            flags: Flags::NONE.set(Flags::KEY, key),
            payload: Bytes::from_static(b"picture").into(),
        };
        self.publisher.push(Instant::now(), WallClock(1), frame).unwrap();
    }

    async fn follower(&self, tally: &Arc<Counts>) -> Follower<Brackets> {
        let client = Client {
            id: Uuid::from_u128(2),
            protocol: Protocol::Rtmp,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            agent: None,
            query: String::new(),
            identity: None,
            tags: Vec::new(),
            extra: Vec::new(),
        };
        let peer = Peer {
            kind: "test",
            id: Uuid::from_u128(3),
        };
        let name = PathName::new(NAME).unwrap();
        let reader = self
            .hub
            .read(Instant::now(), &name, peer, Arc::new(client))
            .await
            .unwrap();
        let lane = reader.publication().lane(|_| Brackets {
            openings: self.openings.clone(),
            ..Brackets::default()
        });
        Follower::new(reader, lane, tally.clone())
    }
}

/// What the reader would write now.
fn fill(follower: &mut Follower<Brackets>, common: &mut Common) -> (String, usize) {
    let mut outgoing = Outgoing::default();
    follower.fill(Instant::now(), &mut outgoing, common);
    let parts: Vec<Bytes> = outgoing.into_parts().into();
    (String::from_utf8(parts.concat()).unwrap(), parts.len())
}

#[tokio::test]
async fn readers_at_the_same_place_share_one_look_and_one_run_of_bytes() {
    let mut stage = Stage::new(Limits::default());
    let tally = Arc::default();
    stage.push(0, true);
    let mut followers = [stage.follower(&tally).await, stage.follower(&tally).await];
    stage.push(1, false);
    let mut common = Common::default();
    let [first, second] = &mut followers;
    assert_eq!(fill(first, &mut common), ("<0>[0][1]".to_owned(), 3));
    assert_eq!(fill(second, &mut common), ("<0>[0][1]".to_owned(), 1));
    assert_eq!(stage.openings.load(Ordering::Relaxed), 1);

    stage.push(2, false);
    let mut newcomer = stage.follower(&tally).await;
    let mut common = Common::default();
    assert_eq!(fill(first, &mut common).0, "[2]");
    assert_eq!(fill(&mut newcomer, &mut common).0, "<0>[0][1][2]");
    assert_eq!(fill(second, &mut common).0, "[2]");
    for follower in [first, second, &mut newcomer] {
        assert_eq!(fill(follower, &mut common).0, "");
    }
}

#[tokio::test]
async fn what_was_published_while_the_others_got_their_turn_is_not_lost() {
    let mut stage = Stage::new(Limits::default());
    let tally = Arc::default();
    stage.push(0, true);
    let (mut first, mut second) = (stage.follower(&tally).await, stage.follower(&tally).await);
    let mut common = Common::default();
    fill(&mut first, &mut common);
    stage.push(1, false);
    assert_eq!(fill(&mut second, &mut common).0, "<0>[0]");
    assert_eq!(fill(&mut second, &mut common).0, "[1]");
}

#[tokio::test]
async fn after_a_gap_a_reader_is_told_the_beginning_again_and_the_loss_is_counted_for_each() {
    let mut stage = Stage::new(Limits {
        max_lag: Some(3),
        ..Limits::default()
    });
    let tally: Arc<Counts> = Arc::default();
    stage.push(0, true);
    let (mut first, mut second) = (stage.follower(&tally).await, stage.follower(&tally).await);
    for follower in [&mut first, &mut second] {
        fill(follower, &mut Common::default());
        fill(follower, &mut Common::default());
    }
    (1..9).for_each(|pts| stage.push(pts, pts == 8));
    let mut common = Common::default();
    for follower in [&mut first, &mut second] {
        assert_eq!(fill(follower, &mut common).0, "<8>[8]");
    }
    assert_eq!(tally.discarded.load(Ordering::Relaxed), 2 * 7);
}

#[tokio::test]
async fn a_crew_writes_for_its_readers_to_the_end_of_the_stream() {
    let mut stage = Stage::new(Limits::default());
    let tally: Arc<Counts> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    stage.push(0, true);
    let mut players = Vec::new();
    for _ in 0..3 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (reader, writer) = listener.accept().await.unwrap().0.into_split();
        let mut hello = Outgoing::default();
        hello.push(Bytes::from_static(b"hello "));
        let member = stage
            .follower(&tally)
            .await
            .join_crew(writer, hello, Duration::from_secs(60));
        players.push((client, reader, member));
    }
    stage.push(1, false);
    let Stage { publisher, .. } = stage;
    publisher.close(Instant::now(), CloseReason::Ended);
    for (mut client, _, mut member) in players {
        let Over::Ended(half, CloseReason::Ended) = member.over().await else {
            panic!("the stream ended")
        };
        drop(half);
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "hello <0>[0][1]");
    }
    assert_eq!(tally.sent.load(Ordering::Relaxed), 3 * 15);
}
