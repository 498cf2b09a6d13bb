//! One frame through the hub to 1, 100 and 1,000 cursors, beside the least that any fan-out inside a process can cost:
//! a queue per reader that gets a shared pointer and gives it back.
//!
//! Prints rows `| figure | measured | reference | hold | aim |`.

use std::{
    collections::VecDeque,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;
use wasmtx_hub::{
    Client, Drained, Entry, Form, Hub, PathConfig, PathName, Peer, Protocol, Publisher, Reader, Rule, Rules,
};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock};

/// A frame of a 4 Mb/s stream at 50 frames per second.
const FRAME: usize = 10_000;
const GOP: u64 = 100;
/// Measured this often; the middle one counts.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(100);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers");
    runtime.block_on(async {
        for readers in [1, 100, 1_000] {
            measure(readers).await;
        }
    });
}

async fn measure(count: usize) {
    let (hub, births) = Hub::new();
    drop(births);
    let now = Instant::now();
    let rule = Rule::new("all_others", Arc::new(PathConfig::default())).expect("a known key");
    hub.configure(now, Rules::new(vec![rule]));
    let name = PathName::new("cam").expect("a valid name");
    let tracks = Arc::from([Track {
        id: TrackId(0),
        kind: Kind::Video,
        codec: Codec::Vp8,
        clock_rate: 90_000,
        extra: Vec::new(),
        derived: None,
    }]);
    let peer = Peer {
        kind: "rtspSession",
        id: Uuid::nil(),
    };
    let mut publisher = hub
        .publish(now, WallClock(1), &name, peer, Some(client()), None, tracks)
        .expect("nobody else publishes");
    let mut readers = Vec::with_capacity(count);
    for _ in 0..count {
        readers.push(hub.read(now, &name, peer, client()).await.expect("the path is online"));
    }
    let lane = publisher.publication().lane(|_| Shared);
    let mut pushed = 0;
    let mut entries = Vec::new();
    let mut wires = Vec::new();

    let ring = median(|| {
        push(&mut publisher, &mut pushed);
        for reader in &mut readers {
            take(reader, &mut entries);
            black_box(&entries);
            entries.clear();
        }
    });
    let with_wires = median(|| {
        push(&mut publisher, &mut pushed);
        for reader in &mut readers {
            take(reader, &mut entries);
            lane.wires(&entries, &mut wires);
            black_box(&wires);
            entries.clear();
            wires.clear();
        }
    });
    let payload = Bytes::from(vec![7; FRAME]);
    let mut queues: Vec<VecDeque<Arc<Frame>>> = (0..count).map(|_| VecDeque::with_capacity(4)).collect();
    let copies = median(|| {
        let frame = Arc::new(frame(0, payload.clone()));
        queues.iter_mut().for_each(|queue| queue.push_back(frame.clone()));
        queues.iter_mut().for_each(|queue| drop(black_box(queue.pop_front())));
    });
    row(&format!("hub: one frame to {count} cursors, each"), ring, copies, count);
    row("hub: the same with its wire form, each", with_wires, copies, count);
}

fn row(figure: &str, measured: f64, reference: f64, count: usize) {
    let each = |nanos: f64| nanos / count as f64;
    println!(
        "| {figure} | {:.0} ns | {:.0} ns (queue per reader) | – | – |",
        each(measured),
        each(reference)
    );
}

fn push(publisher: &mut Publisher, pushed: &mut u64) {
    let payload = Bytes::from_static(&[7; FRAME]);
    let frame = frame(*pushed, payload);
    *pushed += 1;
    publisher
        .push(Instant::now(), WallClock(*pushed * 20_000), frame)
        .expect("nobody replaces this publisher");
}

fn take(reader: &mut Reader, entries: &mut Vec<Arc<Entry>>) {
    let mut lost = 0;
    let drained = reader.drain(64, 1 << 20, entries, &mut lost);
    assert!(
        drained == Drained::Empty && entries.len() == 1 && lost == 0,
        "each reader gets each frame once"
    );
}

/// A wire form that costs nothing to make.
struct Shared;

impl Form for Shared {
    type Wire = Bytes;

    fn make(&mut self, entry: &Entry) -> Bytes {
        entry.frame.payload.clone().into()
    }
}

fn frame(number: u64, payload: Bytes) -> Frame {
    let pts = number as i64 * 1_800;
    let flags = Flags::NONE.set(Flags::KEY, number.is_multiple_of(GOP));
    Frame {
        track: TrackId(0),
        number,
        pts,
        dts: pts,
        duration: 0,
        wall: None,
        flags,
        payload: payload.into(),
    }
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        id: Uuid::nil(),
        protocol: Protocol::Rtsp,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        agent: None,
        query: String::new(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    })
}

/// Nanoseconds of one call.
fn median(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            let mut calls = 0;
            while begin.elapsed() < ROUND {
                call();
                calls += 1;
            }
            begin.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
