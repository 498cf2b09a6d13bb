//! Recording many streams at once: how long after its last frame a part is safe on the disk.
//!
//! The recorder says it of every part (`part_lag_seconds`). Beside it stands what the disk takes for the same bytes when
//! threads of this program write and sync them, and nothing else.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Bench, SHAPE};
use crate::{
    child::{Running, Scratch},
    histogram::Histogram,
    report::milliseconds,
    run,
    session::{Protocol, Target},
};

/// Recorded at once.
const STREAMS: u32 = 64;
/// `recordPartDuration`.
const PART: Duration = Duration::from_secs(1);
/// How often the metrics are read: a part's lag stands there until the next part's.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The gauge of the recorder.
const GAUGE: &str = "name=\"part_lag_seconds\"";

/// Measures and adds the rows.
pub(super) fn measure(bench: &mut Bench<'_>, scratch: &Scratch) -> Result<()> {
    let (lag, cpu) = record(bench, scratch, true)?;
    let (_, idle) = record(bench, scratch, false)?;
    let bare = sync_alone(scratch.path(), bench.options.window)?;
    let figure = format!("{STREAMS} recordings of 4 Mb/s, parts of 1 s: a part's last frame to disk");
    for (name, share, hold) in [("p50", 0.5, "–"), ("p99", 0.99, "1 s")] {
        let reference = format!("{} (write and fdatasync alone)", milliseconds(bare.quantile(share)));
        bench.row(
            format!("{figure}, {name}"),
            milliseconds(lag.quantile(share)),
            reference,
            hold,
            "–",
        );
    }
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let reference = format!("{} (not recording)", percent(idle));
    bench.row(
        format!("{STREAMS} recordings of 4 Mb/s, share of a core"),
        percent(cpu),
        reference,
        "–",
        "–",
    );
    Ok(())
}

/// Publishes all streams; answers the lag of their parts, and the server's share of a core.
fn record(bench: &Bench<'_>, scratch: &Scratch, record: bool) -> Result<(Histogram, f64)> {
    let config = scratch.write("recording.yml", &config(scratch, record))?;
    let server = Running::server(&bench.options.server, &config, &["rtspAddress", "metricsAddress"])?;
    let (rtsp, metrics) = (server.addresses[0], server.addresses[1]);
    let target = Target {
        address: rtsp,
        protocol: Protocol::RtspTcp,
        query: String::new(),
        login: None,
    };
    let options = run::Options {
        paths: STREAMS,
        path: "camera".to_owned(),
        window: bench.options.window,
        ..bench.run(target, server.pid(), 0)
    };
    let over = AtomicBool::new(false);
    let (report, lag) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(metrics, &over));
        let report = run::run(options, bench.clip.clone());
        over.store(true, Relaxed);
        (report, watching.join())
    });
    let (report, lag) = (
        report?,
        lag.map_err(|_| anyhow::anyhow!("the watching thread panicked"))??,
    );
    ensure!(!record || lag.count() > 0, "nothing was recorded");
    let share = report.server.map_or(0.0, |server| report.share(server.cpu));
    Ok((lag, share))
}

/// Reads the gauge of all paths until it is over.
fn watch(metrics: SocketAddr, over: &AtomicBool) -> Result<Histogram> {
    let mut lag = Histogram::new();
    while !over.load(Relaxed) {
        thread::sleep(LOOK_INTERVAL);
        let page = page(metrics)?;
        let rows = page.lines().filter(|line| line.contains(GAUGE));
        let values = rows.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.for_each(|seconds| lag.add((seconds * 1e9) as u64));
    }
    Ok(lag)
}

fn page(metrics: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(metrics)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n"
    )?;
    let mut page = String::new();
    stream.read_to_string(&mut page).context("the page of metrics")?;
    Ok(page)
}

/// A thread per stream writes a part's bytes and syncs them, each at its own moment of the second.
fn sync_alone(directory: &Path, window: Duration) -> Result<Histogram> {
    let bytes = vec![0x5a; (SHAPE.bitrate / 8) as usize];
    let rounds = (window.as_secs() / PART.as_secs()).max(3);
    let taken = thread::scope(|scope| {
        let writers: Vec<_> = (0..STREAMS)
            .map(|number| {
                let (bytes, file) = (&bytes, directory.join(format!("alone-{number}")));
                scope.spawn(move || write_parts(&file, bytes, PART * number / STREAMS, rounds))
            })
            .collect();
        writers.into_iter().map(|writer| writer.join()).collect::<Vec<_>>()
    });
    let mut all = Histogram::new();
    for taken in taken {
        all.merge(&taken.map_err(|_| anyhow::anyhow!("a writing thread panicked"))??);
    }
    Ok(all)
}

fn write_parts(path: &Path, bytes: &[u8], delay: Duration, rounds: u64) -> Result<Histogram> {
    let mut taken = Histogram::new();
    let mut file = File::create(path)?;
    for _ in 0..rounds {
        thread::sleep(delay);
        let begin = Instant::now();
        file.write_all(bytes)?;
        file.sync_data()?;
        taken.add(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        thread::sleep(PART.saturating_sub(delay).saturating_sub(begin.elapsed()));
    }
    Ok(taken)
}

fn config(scratch: &Scratch, record: bool) -> String {
    // Everything else is off: what is measured is recording.
    let others = ["rtmp", "flv", "hls", "webrtc", "srt"]
        .map(|key| format!("{key}: no\n"))
        .concat();
    let (directory, state) = (scratch.path().join("recordings"), scratch.path().join("state"));
    format!(
        "rtspAddress: 127.0.0.1:0\nrtspTransports: [tcp]\nmetrics: yes\nmetricsAddress: 127.0.0.1:0\n{others}stateDirectory: {}\npathDefaults:\n  record: {record}\n  recordPath: {}/%path/%Y-%m-%d_%H-%M-%S-%f\n  recordMinFree: 64M\npaths:\n  all_others:\n",
        state.display(),
        directory.display()
    )
}
