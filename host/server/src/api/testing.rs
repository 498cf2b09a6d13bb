//! A server's window over real sockets, for the tests of the API and of the metrics.

use std::{sync::Arc, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{broadcast, watch},
};
use uuid::Uuid;
use wasmtx_endpoints::{
    codec::{Options, Workers},
    flv, forward,
    hooks::OnConnect,
    http::{self, Server},
    recording::{self, Archive},
    rtmp, rtsp,
    storage::Directories,
};
use wasmtx_hub::{Happened, Hub, PathName, Peer, Publisher};
use wasmtx_media::{Codec, Kind, Track, TrackId, WallClock};

use super::View;
use crate::{
    access::Gate,
    config,
    events::Followers,
    force::{Force, InForce},
    metrics,
    recording::Switches,
    server::Listener,
    wiring,
};

/// Half past three on a day in November 2024.
pub(crate) const STARTED: WallClock = WallClock(1_732_289_613_000_000);

/// API, metrics and RTSP, listening.
pub(crate) struct Window {
    pub(crate) api: String,
    pub(crate) metrics: String,
    pub(crate) rtsp: String,
    pub(crate) hub: Hub,
    pub(crate) gate: Arc<Gate>,
    /// What happens, for who follows it.
    pub(crate) happened: broadcast::Sender<Arc<Happened>>,
    /// Stops the HTTP servers when dropped.
    _stop: watch::Sender<bool>,
    _rtsp: rtsp::Server,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Window {
    /// Opens a window with this configuration. Every path is configured, unless the text says which.
    pub(crate) async fn open(text: &str) -> Window {
        let paths = if text.contains("paths:") {
            ""
        } else {
            "paths: {all_others: {}}\n"
        };
        let text = format!("rtspAddress: 127.0.0.1:0\nrtspTransports: [tcp]\n{text}{paths}");
        let config = config::parse(&text, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let (hub, _births) = Hub::new();
        hub.configure(
            Instant::now(),
            wiring::rules(&config, &wiring::PathChains::new()).unwrap(),
        );
        let gate = Arc::new(Gate::new(&config, Arc::new(())));
        let plugins = wasmtx_sandbox::Registry::new(None, wasmtx_sandbox::Services::default(), Vec::new()).unwrap();
        let force = Force::new(config, &plugins, None).unwrap();
        let config = force.config.clone();
        let state = std::env::temp_dir().join(format!("wasmtx-window-{}", std::process::id()));
        let directories = Arc::new(Directories::new(state.clone()));
        let archive = Archive::new(recording::Parts {
            directories: directories.clone(),
            state,
            clock: Arc::new(recording::MachineClock),
            events: hub.events().clone(),
        });
        archive.configure(wiring::archived(&config));
        let recording = Switches::new(InForce::new(force), plugins.clone(), Arc::default());
        let sessions = rtsp::Registry::default();
        let (rtsp, _) = wiring::start_rtsp(&config, &hub, &gate, &sessions, &OnConnect::default()).unwrap();
        let rtsp = rtsp.expect("RTSP is on");
        let rtsp_address = rtsp.address.unwrap().to_string();

        let bind = |key| Server::bind(key, "127.0.0.1:0", http::Limits::default(), None).unwrap();
        let (api, metrics) = (bind("apiAddress"), bind("metricsAddress"));
        let (api_address, metrics_address) = (api.local_address(), metrics.local_address());
        let (happened, followers) = Followers::new();
        let view = Arc::new(View {
            started: STARTED,
            hub: hub.clone(),
            rtsp: sessions,
            rtmp: rtmp::Registry::default(),
            forwards: forward::Registry::default(),
            flv: flv::Registry::default(),
            config: Arc::new(move || config.clone()),
            listeners: vec![Listener {
                key: "rtspAddress",
                address: rtsp_address.clone(),
            }],
            plugins,
            workers: Workers::new(Options::default()),
            recording,
            archive,
            directories,
            events: followers,
        });
        let counters = metrics::Counters {
            gate: gate.clone(),
            http: vec![("api", api.refused()), ("metrics", metrics.refused())],
            log_dropped: Arc::new(|| 3),
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(api.serve(super::router(view.clone(), gate.clone()), stopped.clone()));
        tokio::spawn(metrics.serve(metrics::router(view, counters), stopped));
        Window {
            api: api_address,
            metrics: metrics_address,
            rtsp: rtsp_address,
            hub,
            gate,
            happened,
            _stop: stop,
            _rtsp: rtsp,
        }
    }

    pub(crate) async fn get(&self, route: &str) -> Answer {
        self.ask("GET", route, &[]).await
    }

    pub(crate) async fn ask(&self, method: &str, route: &str, headers: &[(&str, &str)]) -> Answer {
        request(&self.api, method, route, headers).await
    }

    pub(crate) async fn scrape(&self, query: &str) -> Answer {
        request(&self.metrics, "GET", &format!("/metrics{query}"), &[]).await
    }

    /// Publishes on a path, as an RTSP session would.
    pub(crate) fn publish(&self, name: &str, codecs: Vec<Codec>) -> Publisher {
        let track = |(id, codec)| Track {
            id: TrackId(id),
            kind: Kind::Video,
            codec,
            clock_rate: 90_000,
            extra: vec![],
            derived: None,
        };
        let tracks = (0..).zip(codecs).map(track).collect::<Vec<_>>().into();
        let (name, peer) = (
            PathName::new(name).unwrap(),
            Peer {
                kind: "rtspSession",
                id: Uuid::nil(),
            },
        );
        self.hub
            .publish(Instant::now(), STARTED, &name, peer, None, None, tracks)
            .unwrap()
    }

    /// Publishes over RTSP on `cam`, with a secret in the query; lives as long as the stream that comes back.
    pub(crate) async fn publish_rtsp(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.rtsp).await.unwrap();
        let url = format!("rtsp://{}/cam", self.rtsp);
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                   m=audio 0 RTP/AVP 0\r\na=control:trackID=0\r\n";
        let announce = format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        say(
            &mut stream,
            &format!("ANNOUNCE {url}?token=abc&x=1 RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: test\r\n{announce}"),
        )
        .await;
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n\r\n";
        let setup = format!("SETUP {url}/trackID=0?token=abc&x=1 RTSP/1.0\r\nCSeq: 2\r\n{transport}");
        let answer = say(&mut stream, &setup).await;
        let session = answer
            .lines()
            .find_map(|line| line.strip_prefix("Session: "))
            .unwrap_or_else(|| panic!("{answer}"));
        let session = session.split(';').next().unwrap();
        say(
            &mut stream,
            &format!("RECORD {url}?token=abc&x=1 RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n"),
        )
        .await;
        stream
    }
}

/// Sends an RTSP request and reads its answer, which has no body.
async fn say(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("RTSP/1.0 200 "), "{request}\n{answer}");
    answer
}

async fn request(address: &str, method: &str, route: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let more: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("{method} {route} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
