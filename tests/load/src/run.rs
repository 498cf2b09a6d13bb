//! One measurement: publishers, then readers, then a window in which everything is counted.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, LocalSet},
};

use crate::{
    clip::Clip,
    histogram::Histogram,
    outlet,
    pace::Pace,
    process::{self, Process},
    publisher::{self, Place},
    reader::{self, Progress},
    report::{Report, Server},
    session::Target,
    verify::{Depth, Summary},
};

/// More than this is no measurement on one machine.
pub(crate) const MAX_PATHS: u32 = 1_000;
/// Likewise, of all paths together.
pub(crate) const MAX_READERS: u32 = 20_000;
/// Every run ends.
pub(crate) const MAX_SECONDS: u64 = 3_600;

/// Publishers that are not accepted in this time fail the run.
const START_TIME: Duration = Duration::from_secs(20);
/// Readers that have no frame in this time are counted as they are.
const JOIN_TIME: Duration = Duration::from_secs(60);
/// What is left to settle, if nobody says otherwise.
pub(crate) const SETTLE_TIME: Duration = Duration::from_secs(1);
/// How often progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Connections that one thread opens at the same time.
const MAX_OPENING: usize = 16;
/// What all readers of a thread read into, and what all publishers do.
const READER_BUFFER: usize = 256 << 10;
const PUBLISHER_BUFFER: usize = 16 << 10;

/// What shall be measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where it is read.
    pub(crate) target: Target,
    /// Where we publish; `None` when somebody else does.
    pub(crate) source: Option<Target>,
    /// How published frames are spread over time.
    pub(crate) pace: Pace,
    /// The path, or what its numbers are appended to when there are several.
    pub(crate) path: String,
    /// How many paths.
    pub(crate) paths: u32,
    /// Readers of each path.
    pub(crate) readers: u32,
    /// Threads for the readers.
    pub(crate) threads: u32,
    /// How long is measured.
    pub(crate) window: Duration,
    /// What is left to settle before memory and time are looked at.
    pub(crate) settle: Duration,
    /// The server's process.
    pub(crate) pid: Option<u32>,
    /// How deep readers look.
    pub(crate) depth: Depth,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everybody works.
    Running,
    /// Publishers send no more.
    Stopping,
    /// Readers take what is still on its way, then leave.
    Draining,
    /// Publishers leave, too.
    Over,
}

impl Options {
    /// Refuses what is beyond the bounds of this tool.
    pub(crate) fn check(&self) -> Result<()> {
        let readers = u64::from(self.paths) * u64::from(self.readers);
        ensure!(
            (1..=MAX_PATHS).contains(&self.paths),
            "1 to {MAX_PATHS} paths, not {}",
            self.paths
        );
        ensure!(
            readers <= u64::from(MAX_READERS),
            "at most {MAX_READERS} readers in all, not {readers}"
        );
        ensure!(
            (1..=64).contains(&self.threads),
            "1 to 64 reader threads, not {}",
            self.threads
        );
        ensure!(
            self.window <= Duration::from_secs(MAX_SECONDS),
            "at most {MAX_SECONDS} seconds"
        );
        ensure!(self.source.is_some() || readers > 0, "neither publishers nor readers");
        let files = process::raise_file_limit();
        // A reader in datagrams has a connection and two sockets.
        let wanted = (readers + u64::from(self.paths)) * 3 + 64;
        ensure!(
            wanted <= files,
            "{wanted} open files are needed, the hard limit is {files} (ulimit -Hn)"
        );
        Ok(())
    }

    fn path(&self, number: u32) -> String {
        if self.paths == 1 {
            self.path.clone()
        } else {
            format!("{}{number}", self.path)
        }
    }
}

/// What the threads of a run share.
struct Shared {
    options: Options,
    clip: Arc<Clip>,
    phase: watch::Sender<Phase>,
    /// Frames sent on each path.
    sent: Vec<AtomicU64>,
    publishing: AtomicUsize,
    quiet: AtomicUsize,
    progress: Arc<Progress>,
}

/// Everything that a thread of readers brings home.
struct Harvest {
    summary: Summary,
    latency: Histogram,
    first_frame: Histogram,
    errors: BTreeMap<String, usize>,
}

/// Measures. Blocks until it is done.
pub(crate) fn run(options: Options, clip: Arc<Clip>) -> Result<Report> {
    options.check()?;
    let shared = Arc::new(Shared {
        sent: (0..options.paths).map(|_| AtomicU64::new(0)).collect(),
        options,
        clip,
        phase: watch::Sender::new(Phase::Running),
        publishing: AtomicUsize::new(0),
        quiet: AtomicUsize::new(0),
        progress: Arc::default(),
    });
    let publishers = shared.options.source.clone().map(|source| {
        let shared = shared.clone();
        thread::spawn(move || publish_all(&shared, &source))
    });
    let result = measure(&shared, publishers.as_ref());
    // Whatever happened, nobody is left running.
    shared.phase.send_replace(Phase::Over);
    if let Some(publishers) = publishers {
        publishers
            .join()
            .map_err(|_| anyhow!("the publishers' thread panicked"))??;
    }
    result
}

fn measure(shared: &Arc<Shared>, publishers: Option<&thread::JoinHandle<Result<()>>>) -> Result<Report> {
    let Options {
        paths,
        readers,
        threads,
        window,
        settle,
        pid,
        ..
    } = shared.options;
    let server = pid.map(Process::new);
    let gone = || publishers.is_some_and(thread::JoinHandle::is_finished);
    if publishers.is_some() {
        await_count(&shared.publishing, paths as usize, START_TIME, &gone);
        if gone() {
            bail!("not every publisher was accepted");
        }
    }
    thread::sleep(settle);
    let memory_before = server.as_ref().map(Process::memory).transpose()?;

    let total = (paths * readers) as usize;
    let handles: Vec<_> = (0..threads)
        .map(|number| {
            let shared = shared.clone();
            thread::spawn(move || read_all(&shared, number))
        })
        .collect();
    let progress = &shared.progress;
    let arrived = Instant::now();
    while progress.started.load(Ordering::Acquire) + progress.failed.load(Ordering::Acquire) < total
        && arrived.elapsed() < JOIN_TIME
        && !gone()
    {
        thread::sleep(LOOK_INTERVAL);
    }
    if total > 0 {
        thread::sleep(settle);
    }

    let own = Process::own();
    let look = || -> Result<_> {
        let cpu = server.as_ref().map(Process::cpu).transpose()?;
        Ok((
            Instant::now(),
            cpu,
            own.cpu()?,
            progress.bytes.load(Ordering::Relaxed),
            progress.frames.load(Ordering::Relaxed),
        ))
    };
    progress.measuring.store(true, Ordering::Relaxed);
    let before = look()?;
    thread::sleep(window);
    let after = look()?;
    progress.measuring.store(false, Ordering::Relaxed);
    let memory_after = server.as_ref().map(Process::memory).transpose()?;

    shared.phase.send_replace(Phase::Stopping);
    if publishers.is_some() {
        await_count(&shared.quiet, paths as usize, START_TIME, &gone);
    }
    shared.phase.send_replace(Phase::Draining);
    let mut harvest = Harvest::new();
    for handle in handles {
        harvest.merge(handle.join().map_err(|_| anyhow!("a readers' thread panicked"))??);
    }
    let server = match (before.1, after.1, memory_before, memory_after) {
        (Some(before), Some(after), Some(memory_before), Some(memory_after)) => Some(Server {
            cpu: after.saturating_sub(before),
            memory_before,
            memory_after,
        }),
        _ => None,
    };
    Ok(Report {
        paths,
        readers: total as u32,
        joined: progress.started.load(Ordering::Acquire) as u32,
        window: after.0 - before.0,
        sent: shared.sent.iter().map(|sent| sent.load(Ordering::Acquire)).sum(),
        bitrate: shared.options.source.is_some().then(|| shared.clip.bitrate()),
        bytes: after.3 - before.3,
        frames: after.4 - before.4,
        summary: harvest.summary,
        latency: harvest.latency,
        first_frame: harvest.first_frame,
        own_cpu: after.2.saturating_sub(before.2),
        server,
        errors: harvest.errors,
    })
}

fn await_count(count: &AtomicUsize, wanted: usize, limit: Duration, gone: &impl Fn() -> bool) {
    let begin = Instant::now();
    while count.load(Ordering::Acquire) < wanted && begin.elapsed() < limit && !gone() {
        thread::sleep(LOOK_INTERVAL);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")
}

/// All publishers, on one thread. Ends with the first one that fails.
fn publish_all(shared: &Arc<Shared>, source: &Target) -> Result<()> {
    let buffer = Rc::new(RefCell::new(vec![0; PUBLISHER_BUFFER].into_boxed_slice()));
    let tasks = LocalSet::new();
    runtime()?.block_on(tasks.run_until(async {
        let mut publishers = JoinSet::new();
        for number in 0..shared.options.paths {
            let (shared, source, buffer) = (shared.clone(), source.clone(), buffer.clone());
            publishers.spawn_local(async move {
                let path = shared.options.path(number);
                let place = Place {
                    stream: number as u16,
                    path: &path,
                    pace: shared.options.pace,
                    delay: shared.clip.interval * number / shared.options.paths,
                    sent: &shared.sent[number as usize],
                    started: &shared.publishing,
                    stopped: &shared.quiet,
                };
                let phase = shared.phase.subscribe();
                let published = publisher::publish(&source, place, &shared.clip, &buffer, phase).await;
                published.with_context(|| format!("publishing {path}"))
            });
        }
        while let Some(published) = publishers.join_next().await {
            published??;
        }
        Ok(())
    }))
}

/// The readers of one thread: every n-th of all.
fn read_all(shared: &Arc<Shared>, number: u32) -> Result<Harvest> {
    let options = &shared.options;
    let thread = Rc::new(reader::Thread {
        buffer: RefCell::new(vec![0; READER_BUFFER].into_boxed_slice()),
        latency: RefCell::new(Histogram::new()),
        first_frame: RefCell::new(Histogram::new()),
        depth: options.depth,
        known: outlet::description(&shared.clip),
        progress: shared.progress.clone(),
    });
    let mut harvest = Harvest::new();
    let tasks = LocalSet::new();
    runtime()?.block_on(tasks.run_until(async {
        let opening = Rc::new(Semaphore::new(MAX_OPENING));
        let mine = (0..options.paths * options.readers).filter(|reader| reader % options.threads == number);
        let readers: Vec<_> = mine
            .map(|reader| {
                let (shared, thread, opening) = (shared.clone(), thread.clone(), opening.clone());
                tokio::task::spawn_local(async move {
                    let number = reader % shared.options.paths;
                    let path = shared.options.path(number);
                    let place = reader::Place {
                        path: &path,
                        sent: &shared.sent[number as usize],
                        opening: &opening,
                    };
                    reader::read(&shared.options.target, place, &thread, shared.phase.subscribe()).await
                })
            })
            .collect();
        for reader in readers {
            let (summary, result) = reader.await?;
            harvest.summary.add(&summary);
            if let Err(error) = result {
                *harvest.errors.entry(format!("{error:#}")).or_default() += 1;
            }
        }
        anyhow::Ok(())
    }))?;
    harvest.latency.merge(&thread.latency.borrow());
    harvest.first_frame.merge(&thread.first_frame.borrow());
    Ok(harvest)
}

impl Harvest {
    fn new() -> Harvest {
        Harvest {
            summary: Summary::default(),
            latency: Histogram::new(),
            first_frame: Histogram::new(),
            errors: BTreeMap::new(),
        }
    }

    fn merge(&mut self, other: Harvest) {
        self.summary.add(&other.summary);
        self.latency.merge(&other.latency);
        self.first_frame.merge(&other.first_frame);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener},
        sync::atomic::AtomicBool,
    };

    use super::*;
    use crate::{
        clip::Shape,
        relay::{self, Unit},
        session::Protocol,
    };

    fn options(address: SocketAddr) -> Options {
        let target = Target {
            address,
            protocol: Protocol::Bare,
            query: String::new(),
            login: None,
        };
        Options {
            source: Some(target.clone()),
            pace: Pace::Steady,
            target,
            path: "cam".to_owned(),
            paths: 2,
            readers: 3,
            threads: 2,
            window: Duration::from_millis(200),
            settle: Duration::from_millis(20),
            pid: Some(std::process::id()),
            depth: Depth::All,
        }
    }

    fn clip() -> Arc<Clip> {
        let shape = Shape {
            bitrate: 1_000_000,
            fps: 100.0,
            gop: 10,
        };
        Arc::new(Clip::synthetic(shape).unwrap())
    }

    #[test]
    fn a_run_against_a_relay_gets_every_frame() {
        for unit in [Unit::Frame, Unit::Packet] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let stop = AtomicBool::new(false);
            let report = thread::scope(|scope| {
                scope.spawn(|| relay::serve(&listener, unit, &stop));
                let report = run(options(address), clip());
                stop.store(true, Ordering::Relaxed);
                report.unwrap()
            });
            assert!(report.is_clean(), "{unit:?}:\n{}", report.table());
            assert_eq!((report.readers, report.joined), (6, 6));
            assert!(report.frames > 0 && report.latency.count() > 0 && report.server.is_some());
            assert!(
                report.summary.frames.received >= report.frames,
                "the window is within the run"
            );
        }
    }

    #[test]
    fn a_run_against_nobody_fails_with_the_address() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = format!("{:#}", run(options(address), clip()).err().unwrap());
        assert!(error.contains(&address.to_string()), "{error}");
    }

    #[test]
    fn a_run_beyond_the_bounds_is_refused() {
        let fine = options(SocketAddr::from(([127, 0, 0, 1], 1)));
        fine.check().unwrap();
        for options in [
            Options {
                paths: 0,
                ..fine.clone()
            },
            Options {
                paths: MAX_PATHS + 1,
                readers: 0,
                ..fine.clone()
            },
            Options {
                readers: MAX_READERS,
                ..fine.clone()
            },
            Options {
                threads: 0,
                ..fine.clone()
            },
            Options {
                window: Duration::from_secs(MAX_SECONDS + 1),
                ..fine.clone()
            },
            Options {
                readers: 0,
                source: None,
                ..fine.clone()
            },
        ] {
            assert!(options.check().is_err(), "{options:?}");
        }
    }
}
