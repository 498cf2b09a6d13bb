//! The queue of lines and the thread that writes them.

use super::{Error, Settings};
use crate::config::LogDestination;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::net::UnixDatagram,
    process,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use tracing::Level;

/// Lines that wait; more are dropped and counted.
const CAPACITY: usize = 8_192;
/// How long an ending program waits for the last lines.
const CLOSE: Duration = Duration::from_secs(1);
const SYSLOG: &str = "/dev/log";
/// RFC 5424 section 6.2.1: system daemons.
const FACILITY: u8 = 3;

enum Message {
    Line(Level, String),
    Redirect(Outputs),
    Close(SyncSender<()>),
}

/// Where lines go in, from any thread, without waiting.
pub(super) struct Queue {
    sender: SyncSender<Message>,
    dropped: AtomicU64,
    /// Of the dropped, those that the log itself has told about.
    told: AtomicU64,
    structured: AtomicBool,
}

impl Queue {
    /// Starts the thread that writes.
    pub(super) fn start(outputs: Outputs) -> Result<Queue, Error> {
        let structured = AtomicBool::new(outputs.structured);
        let (sender, receiver) = sync_channel(CAPACITY);
        let writer = thread::Builder::new().name("log".into());
        writer
            .spawn(move || write_all(&receiver, outputs))
            .map_err(Error::Thread)?;
        Ok(Queue {
            sender,
            dropped: AtomicU64::new(0),
            told: AtomicU64::new(0),
            structured,
        })
    }

    /// Queues a line; when there is room again after lines were dropped, says how many were.
    pub(super) fn push(&self, level: Level, line: String) -> Option<u64> {
        if self.sender.try_send(Message::Line(level, line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let dropped = self.dropped();
        let untold = dropped.saturating_sub(self.told.swap(dropped, Ordering::Relaxed));
        (untold > 0).then_some(untold)
    }

    pub(super) fn structured(&self) -> bool {
        self.structured.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits for room: whoever changes the configuration is no task of the media.
    pub(super) fn redirect(&self, outputs: Outputs) {
        self.structured.store(outputs.structured, Ordering::Relaxed);
        // It fails when the thread is gone, and then nothing is written anyway.
        let _ = self.sender.send(Message::Redirect(outputs));
    }

    pub(super) fn close(&self) {
        let (done, wait) = sync_channel(1);
        if self.sender.try_send(Message::Close(done)).is_ok() {
            // Late is as good as done: the program ends.
            let _ = wait.recv_timeout(CLOSE);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, mut outputs: Outputs) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Line(level, line) => outputs.write(level, &line),
            Message::Redirect(new) => outputs = new,
            Message::Close(done) => {
                let _ = done.send(());
                return;
            }
        }
    }
}

/// The destinations, opened.
pub(super) struct Outputs {
    structured: bool,
    stdout: bool,
    file: Option<File>,
    syslog: Option<Syslog>,
}

impl Outputs {
    pub(super) fn open(settings: &Settings) -> Result<Outputs, Error> {
        let wants = |destination| settings.destinations.contains(&destination);
        let file = if wants(LogDestination::File) {
            let opened = OpenOptions::new().create(true).append(true).open(&settings.file);
            Some(opened.map_err(|source| Error::File {
                file: settings.file.clone(),
                source,
            })?)
        } else {
            None
        };
        Ok(Outputs {
            structured: settings.structured,
            stdout: wants(LogDestination::Stdout),
            file,
            syslog: wants(LogDestination::Syslog).then(|| Syslog {
                prefix: settings.syslog_prefix.clone(),
                socket: None,
            }),
        })
    }

    /// A destination that cannot be written loses the line; there is nowhere to complain.
    fn write(&mut self, level: Level, line: &str) {
        if self.stdout {
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, line);
        }
    }
}

/// The system's log: one datagram per line, connected anew when it was restarted.
struct Syslog {
    prefix: String,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn write(&mut self, level: Level, line: &str) {
        let datagram = datagram(level, &self.prefix, line);
        let sent = |socket: &UnixDatagram| socket.send(datagram.as_bytes()).is_ok();
        if self.socket.as_ref().is_some_and(sent) {
            return;
        }
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(SYSLOG)?;
            Ok::<_, io::Error>(socket)
        };
        self.socket = connect().ok().filter(sent);
    }
}

/// RFC 3164 without host and time, which the receiver adds: `<priority>name[process]: text`.
fn datagram(level: Level, prefix: &str, line: &str) -> String {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    format!("<{}>{prefix}[{}]: {line}", FACILITY * 8 + severity, process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;
    use std::{fs, path::PathBuf};

    fn settings(file: PathBuf) -> Settings {
        Settings {
            level: LogLevel::Info,
            destinations: vec![LogDestination::File],
            structured: false,
            file,
            syslog_prefix: "wasmtx".into(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("wasmtx-log-{}-{name}", process::id()))
    }

    #[test]
    fn lines_arrive_in_the_file_in_order_and_follow_a_redirection() {
        let (first, second) = (scratch("first"), scratch("second"));
        let queue = Queue::start(Outputs::open(&settings(first.clone())).unwrap()).unwrap();
        for i in 0..100 {
            queue.push(Level::INFO, format!("line {i}"));
        }
        queue.redirect(Outputs::open(&settings(second.clone())).unwrap());
        queue.push(Level::INFO, "elsewhere".into());
        queue.close();
        let expected: String = (0..100).map(|i| format!("line {i}\n")).collect();
        assert_eq!(fs::read_to_string(&first).unwrap(), expected);
        assert_eq!(fs::read_to_string(&second).unwrap(), "elsewhere\n");
        assert_eq!(queue.dropped(), 0);
        fs::remove_file(first).and_then(|()| fs::remove_file(second)).unwrap();
    }

    #[test]
    fn a_full_queue_drops_and_tells_how_many() {
        let (sender, receiver) = sync_channel(2);
        let (dropped, told) = (AtomicU64::new(0), AtomicU64::new(0));
        let queue = Queue {
            sender,
            dropped,
            told,
            structured: AtomicBool::new(false),
        };
        for _ in 0..5 {
            assert_eq!(queue.push(Level::INFO, "x".into()), None);
        }
        assert_eq!(queue.dropped(), 3);
        assert!(matches!(receiver.try_recv(), Ok(Message::Line(..))));
        assert_eq!(queue.push(Level::INFO, "y".into()), Some(3));
        assert!(matches!(receiver.try_recv(), Ok(Message::Line(..))));
        assert_eq!(queue.push(Level::INFO, "z".into()), None);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
        let file = scratch("missing").join("log");
        let error = Outputs::open(&settings(file.clone())).err().unwrap().to_string();
        assert!(
            error.starts_with("logFile: cannot open ") && error.contains(&*file.to_string_lossy()),
            "{error}"
        );
    }

    #[test]
    fn the_system_log_is_told_facility_and_severity() {
        let line = datagram(Level::WARN, "mediamtx", "text");
        assert_eq!(line, format!("<28>mediamtx[{}]: text", process::id()));
    }
}
