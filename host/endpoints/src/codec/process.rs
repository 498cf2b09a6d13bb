//! A worker process: how it is started, spoken to, listened to, and ended.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::net::UnixStream,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::process::Signal;
use wasmtx_codec::wire;

/// A worker that was told to end is given so long.
const FAREWELL: Duration = Duration::from_millis(500);
/// Bytes of a line of a worker's words.
const LINE_LEN: u64 = 512;
/// Clock ticks of /proc per second, on every Linux.
const TICKS: u64 = 100;

/// A running worker. It ends when this is dropped.
pub(super) struct Process {
    child: Child,
    socket: UnixStream,
    listening: Option<JoinHandle<()>>,
    /// It says nothing any more, or nothing that is listened to.
    gone: Arc<AtomicBool>,
    last_words: Arc<Mutex<String>>,
}

/// How a worker ended.
pub(super) struct Ended {
    /// In words: its own last ones, too.
    pub(super) how: String,
    /// By somebody, or by this server: sound does not do that.
    pub(super) killed: bool,
    /// Processor time.
    pub(super) used: Duration,
}

impl Process {
    /// Starts the program. `hear` gets what it says on a thread of its own, at last `None`; when it answers false, the worker is
    /// cut off. Writing to it fails after `patience`.
    pub(super) fn spawn(
        program: &Path,
        patience: Duration,
        mut hear: impl FnMut(Option<Bytes>) -> bool + Send + 'static,
    ) -> io::Result<Process> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(patience))?;
        let mut command = Command::new(program);
        command.env_clear();
        // FFmpeg's libraries may be where the loader does not look by itself.
        if let Some(libraries) = env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut child = command
            .current_dir("/")
            // What a terminal sends to the server is not meant for it.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()?;
        let last_words = Arc::new(Mutex::new(String::new()));
        if let Some(words) = child.stderr.take() {
            let last = last_words.clone();
            named("codec-words", move || log(words, &last))?;
        }
        let from = ours.try_clone()?;
        let gone = Arc::new(AtomicBool::new(false));
        let is_gone = gone.clone();
        let listening = named("codec-hear", move || {
            let mut from = BufReader::new(from);
            while let Ok(Some(body)) = wire::read_message(&mut from) {
                if !hear(Some(body)) {
                    break;
                }
            }
            is_gone.store(true, Ordering::Release);
            let _ = from.get_ref().shutdown(Shutdown::Both);
            hear(None);
        })?;
        Ok(Process {
            child,
            socket: ours,
            listening: Some(listening),
            gone,
            last_words,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn write(&mut self, wire: &[u8]) -> io::Result<()> {
        self.socket.write_all(wire)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Ended {
        let _ = self.socket.shutdown(Shutdown::Both);
        let deadline = Instant::now() + FAREWELL;
        let mut status = self.child.try_wait();
        // What it used is known until it is waited for.
        let mut used = cpu(self.child.id()).unwrap_or_default();
        while let Ok(None) = status {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                status = self.child.wait().map(Some);
                break;
            }
            thread::sleep(Duration::from_millis(5));
            used = cpu(self.child.id()).unwrap_or(used);
            status = self.child.try_wait();
        }
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let status = status.ok().flatten();
        let how = status.map_or_else(String::new, |status| status.to_string());
        let words = std::mem::take(&mut *self.last_words.lock());
        Ended {
            how: if words.is_empty() {
                how
            } else {
                format!("{how}: {words}")
            },
            killed: status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw()),
            used,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of a process, if there is one.
pub(super) fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .filter(|_| pid != 0)?;
    // proc(5): fields 14 and 15, counted behind the name, which may hold anything.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system).saturating_mul(1_000 / TICKS)))
}

/// What FFmpeg says about strangers' sound is nobody's error: it is kept for who looks closer.
fn log(words: ChildStderr, last: &Mutex<String>) {
    let mut words = BufReader::new(words);
    loop {
        let mut line = Vec::new();
        match words.by_ref().take(LINE_LEN).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let line: String = line.trim().chars().filter(|letter| !letter.is_control()).collect();
        if !line.is_empty() {
            tracing::debug!("wasmtx-codec: {line}");
            *last.lock() = line;
        }
    }
}

fn named(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
