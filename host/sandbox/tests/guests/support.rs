//! What the tests share: guests, a registry, and a stream that is fed by hand.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use uuid::Uuid;
use wasmtx_hub::{Client, CloseReason, Flow, Opening, Output, PathName, Protocol, Refusal, Stage};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks};
use wasmtx_sandbox::{Chains, PluginSpec, Registry, Services, Source, Usage, Use};

/// How long something that happens on another thread may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The component of a guest.
pub(crate) fn guest(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/plugins")
        .join(name)
        .with_extension("wasm");
    assert!(file.is_file(), "the guest {name} is not built: run `make plugins`");
    file
}

/// An entry of the registry for a guest. It has more time than usual, for hosts without optimisation on busy machines.
pub(crate) fn plugin(name: &str, config: Json) -> PluginSpec {
    let mut spec = PluginSpec::new(name, Source::File(guest(name)));
    spec.limits.frame = PATIENCE;
    spec.limits.share = u32::MAX;
    PluginSpec { config, ..spec }
}

/// A registry whose compiled code all tests share.
pub(crate) fn registry(specs: Vec<PluginSpec>) -> Registry {
    registry_with(Services::default(), specs)
}

/// The same with something outside.
pub(crate) fn registry_with(services: Services, specs: Vec<PluginSpec>) -> Registry {
    Registry::new(Some(Path::new(env!("CARGO_TARGET_TMPDIR"))), services, specs).unwrap()
}

/// One plugin in a path's list.
pub(crate) fn used(name: &str) -> Use {
    Use {
        plugin: name.to_owned(),
        ..Use::default()
    }
}

/// A list with those plugins.
pub(crate) fn chains(registry: &Registry, names: &[&str]) -> Chains {
    let uses: Vec<_> = names.iter().map(|name| used(name)).collect();
    registry.chains(&uses).unwrap()
}

/// What one plugin did so far, all uses together where there is only one.
pub(crate) fn usage(registry: &Registry, name: &str) -> Usage {
    let status = registry
        .status()
        .into_iter()
        .find(|status| status.name == name)
        .unwrap();
    status.uses.into_iter().next().unwrap()
}

pub(crate) const VIDEO: TrackId = TrackId(1);
pub(crate) const AUDIO: TrackId = TrackId(2);

/// Video and audio, in codecs whose payload may be any bytes.
pub(crate) fn tracks() -> Tracks {
    let track = |id, kind, codec, clock_rate| Track {
        id,
        kind,
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    };
    Arc::from([
        track(VIDEO, Kind::Video, Codec::Vp8, 90_000),
        track(AUDIO, Kind::Audio, Codec::Opus { channels: 2 }, 48_000),
    ])
}

/// The `n`-th frame of a track. Every tenth video frame is a key.
pub(crate) fn frame(track: TrackId, n: u64) -> Frame {
    let key = track == AUDIO || n.is_multiple_of(10);
    Frame {
        track,
        number: n,
        pts: n as i64 * 3_000,
        dts: n as i64 * 3_000,
        duration: 3_000,
        wall: None,
        flags: Flags::NONE.set(Flags::KEY, key),
        payload: format!("payload of frame {n} of track {}", track.0).into_bytes().into(),
    }
}

/// A publication on a path, fed by hand; its clock is the test's.
pub(crate) struct Stream {
    stage: Box<dyn Stage>,
    pub(crate) now: Instant,
    pub(crate) output: Output,
    next: u64,
}

impl Stream {
    /// Begins a stream, or says why it may not begin.
    pub(crate) fn try_open(chains: &Chains) -> Result<(Stream, Tracks), Refusal> {
        let path = PathName::new("cam1").unwrap();
        let stage = chains.filters.as_ref().expect("the list has a filter").stage(&path)?;
        let mut stream = Stream {
            stage,
            now: Instant::now(),
            output: Output::default(),
            next: 0,
        };
        let tracks = stream.reopen(tracks())?;
        Ok((stream, tracks))
    }

    pub(crate) fn open(chains: &Chains) -> Stream {
        Stream::try_open(chains).unwrap().0
    }

    /// The stream begins, or its tracks change.
    pub(crate) fn reopen(&mut self, tracks: Tracks) -> Result<Tracks, Refusal> {
        let path = PathName::new("cam1").unwrap();
        let publisher = Some(Arc::new(client("token=secret&view=1")));
        self.stage.open(
            self.now,
            &Opening {
                path,
                generation: 1,
                publisher,
                source: None,
                tracks,
            },
        )
    }

    /// One frame; answers what came out.
    pub(crate) fn feed(&mut self, frame: Frame) -> Result<Vec<Frame>, String> {
        assert!(self.output.frames.is_empty());
        match self.stage.frame(self.now, frame, &mut self.output) {
            Flow::Continue => Ok(std::mem::take(&mut self.output.frames)),
            Flow::Close(reason) => Err(reason),
        }
    }

    /// The next frame of the video track, 33 ms later; what went in and what came out.
    pub(crate) fn step(&mut self) -> (Frame, Vec<Frame>) {
        let sent = frame(VIDEO, self.next);
        self.next += 1;
        self.now += Duration::from_millis(33);
        let out = self.feed(sent.clone()).unwrap();
        (sent, out)
    }

    /// Feeds frames, all of which must go on as they are.
    pub(crate) fn passes(&mut self, frames: u32) {
        for _ in 0..frames {
            let (sent, out) = self.step();
            assert_eq!(out, [sent]);
        }
    }

    pub(crate) fn close(mut self) -> Vec<Frame> {
        self.stage.close(self.now, CloseReason::Ended, &mut self.output);
        self.output.frames
    }
}

pub(crate) fn client(query: &str) -> Client {
    Client {
        id: Uuid::nil(),
        protocol: Protocol::Rtsp,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        agent: Some("test".into()),
        query: query.to_owned(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    }
}

/// Tries again and again until it is so: other threads work towards it.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// A directory that goes away with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-guests-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Directory(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
