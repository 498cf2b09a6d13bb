//! A worker process, and the server's end of its pipes.

use std::{
    io::{BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use bytes::Bytes;
use wasmtx_codec::wire::{self, Answer, Decode, Encode, Packet, Problem, Request, Source, Target, VERSION};

/// Longer than anything takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const MEMORY: u64 = 512 << 20;

pub(crate) struct Worker {
    pub(crate) process: Child,
    to: Option<ChildStdin>,
    answers: Receiver<Answer>,
    /// What it said so far to its standard error, once it has ended.
    words: thread::JoinHandle<String>,
    /// Packets that are not accounted for.
    underway: u32,
}

/// What became of a stream.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    pub(crate) parameters: Bytes,
    pub(crate) packets: Vec<Packet>,
    pub(crate) problems: Vec<Problem>,
}

impl Worker {
    pub(crate) fn start() -> Worker {
        Worker::start_with(MEMORY)
    }

    pub(crate) fn start_with(memory: u64) -> Worker {
        let mut worker = Worker::silent();
        worker.say(&Request::Hello {
            version: VERSION,
            memory,
            threads: 2,
        });
        assert_eq!(worker.hear(), Answer::Hello { version: VERSION });
        worker
    }

    /// One that was told nothing yet.
    pub(crate) fn silent() -> Worker {
        let mut process = Command::new(env!("CARGO_BIN_EXE_wasmtx-codec"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut from = BufReader::new(process.stdout.take().unwrap());
        let mut stderr = process.stderr.take().unwrap();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(Some(body)) = wire::read_message(&mut from) {
                if sender.send(Answer::parse(body).unwrap()).is_err() {
                    return;
                }
            }
        });
        let words = thread::spawn(move || {
            let mut words = String::new();
            let _ = stderr.read_to_string(&mut words);
            words
        });
        Worker {
            to: process.stdin.take(),
            process,
            answers,
            words,
            underway: 0,
        }
    }

    pub(crate) fn say(&mut self, request: &Request) {
        let mut wire = Vec::new();
        request.write(&mut wire).unwrap();
        self.say_bytes(&wire);
    }

    /// A worker that is gone hears nothing; what it said last tells why.
    pub(crate) fn say_bytes(&mut self, wire: &[u8]) {
        let _ = self.to.as_mut().unwrap().write_all(wire);
    }

    pub(crate) fn hear(&self) -> Answer {
        self.answers.recv_timeout(PATIENCE).expect("an answer")
    }

    pub(crate) fn open(&mut self, id: u32, source: &Source, target: Target) -> Bytes {
        self.say(&Request::Open {
            id,
            source: source.clone(),
            target,
        });
        match self.hear() {
            Answer::Opened { id: opened, parameters } if opened == id => parameters,
            other => panic!("{other:?}"),
        }
    }

    /// Gives a packet, and takes what is there when as many as allowed are underway.
    pub(crate) fn push(&mut self, id: u32, pts: i64, payload: Bytes, converted: &mut Converted) {
        self.say(&Request::Packet { id, pts, payload });
        self.underway += 1;
        while self.underway >= wire::WINDOW {
            self.take(converted);
        }
    }

    pub(crate) fn flush(&mut self, id: u32, converted: &mut Converted) {
        self.say(&Request::Flush { id });
        while !self.take(converted) {}
        assert_eq!(self.underway, 0);
        self.say(&Request::Close { id });
    }

    /// Takes an answer; whether it was the last.
    fn take(&mut self, converted: &mut Converted) -> bool {
        match self.hear() {
            Answer::Converted { problem, packets, .. } => {
                self.underway -= 1;
                converted.packets.extend(packets);
                converted.problems.extend(problem);
                false
            }
            Answer::Flushed { packets, .. } => {
                converted.packets.extend(packets);
                true
            }
            other => panic!("{other:?}"),
        }
    }

    /// Ends it as the server does, and answers what it said besides.
    pub(crate) fn end(mut self) -> String {
        drop(self.to.take());
        assert!(self.process.wait().unwrap().success());
        self.words.join().unwrap()
    }

    /// Waits for the end of one that ends by itself.
    pub(crate) fn remains(mut self) -> (std::process::ExitStatus, String) {
        let status = self.process.wait().unwrap();
        (status, self.words.join().unwrap())
    }
}

/// Sends whole packets through a worker of its own.
pub(crate) fn convert(source: &Source, target: Target, packets: impl IntoIterator<Item = (i64, Bytes)>) -> Converted {
    let mut worker = Worker::start();
    let mut converted = Converted {
        parameters: worker.open(1, source, target),
        ..Converted::default()
    };
    for (pts, payload) in packets {
        worker.push(1, pts, payload, &mut converted);
    }
    worker.flush(1, &mut converted);
    worker.end();
    converted
}

pub(crate) fn source(codec: Decode, sample_rate: u32, channels: u8) -> Source {
    Source {
        codec,
        sample_rate,
        channels,
        clock_rate: sample_rate,
        parameters: Bytes::new(),
    }
}

pub(crate) fn target(codec: Encode, sample_rate: u32, channels: u8) -> Target {
    Target {
        codec,
        sample_rate,
        channels,
        bitrate: 0,
    }
}
