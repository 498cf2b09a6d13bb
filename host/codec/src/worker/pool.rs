//! A few threads, each with its converters: a converter stays where it is, so its packets stay in order, and nothing is
//! locked but the way out.

use std::{
    collections::HashMap,
    io::{self, Write},
    process,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use bytes::Bytes;
use wasmtx_codec::wire::{Answer, Packet, Problem, Request, Source, Target, Video};

use super::converter::{Converter, Failure};
use crate::av;

/// Bytes of this process without converters, with room.
const BASE: u64 = 32 << 20;
/// Bytes of a converter for each channel that it makes, with room: FFmpeg's AAC encoder takes half of it. So nobody meets the
/// process's bound, where a converter more would cost all of them their lives.
const CHANNEL: u64 = 1 << 20;
/// Jobs that wait for a thread. When it is full, nothing more is read from the server, which then holds back by itself.
const JOBS: usize = 1_024;

enum Job {
    Open { id: u32, source: Source, target: Target },
    Packet { id: u32, pts: i64, payload: Bytes },
    Flush { id: u32 },
    Close { id: u32 },
    Picture(Picture),
}

/// What becomes a picture.
struct Picture {
    id: u32,
    codec: Video,
    width: u16,
    parameters: Bytes,
    payload: Bytes,
}

/// The way to the server. Whole messages, one after the other.
#[derive(Clone, Default)]
pub(super) struct Mouth(Arc<Mutex<Vec<u8>>>);

impl Mouth {
    /// Says it, and waits until the pipe has taken it. Without a server there is nothing left to do.
    pub(super) fn say(&self, answer: &Answer) {
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wire.clear();
        let written = answer.write(&mut wire).map_err(io::Error::from);
        let mut pipe = io::stdout().lock();
        if let Err(error) = written.and_then(|()| pipe.write_all(&wire)).and_then(|()| pipe.flush()) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("the server cannot be answered: {error}");
            }
            process::exit(1);
        }
    }
}

/// The threads, and who is where.
pub(super) struct Pool {
    threads: Vec<Thread>,
    places: HashMap<u32, Place>,
    /// Bytes that are set aside for converters, and how many there are of them.
    taken: u64,
    room: u64,
    mouth: Mouth,
}

struct Place {
    thread: usize,
    takes: u64,
}

struct Thread {
    jobs: mpsc::SyncSender<Job>,
    converters: usize,
}

impl Pool {
    /// # Errors
    /// The system has no threads.
    pub(super) fn start(threads: u8, memory: u64, mouth: &Mouth) -> io::Result<Pool> {
        let start = |number| {
            let (jobs, queue) = mpsc::sync_channel(JOBS);
            let mouth = mouth.clone();
            thread::Builder::new()
                .name(format!("convert-{number}"))
                .spawn(move || Bench::new(mouth).work(&queue))?;
            Ok(Thread { jobs, converters: 0 })
        };
        Ok(Pool {
            threads: (0..threads).map(start).collect::<io::Result<_>>()?,
            places: HashMap::new(),
            taken: 0,
            room: memory.saturating_sub(BASE),
            mouth: mouth.clone(),
        })
    }

    /// Hands a request to the thread that has its converter. What names none is left out: it failed, and its packets were
    /// on their way.
    pub(super) fn handle(&mut self, request: Request) {
        match request {
            Request::Hello { .. } => {}
            Request::Open { id, source, target } => self.open(id, source, target),
            Request::Packet { id, pts, payload } => self.send(id, Job::Packet { id, pts, payload }),
            Request::Flush { id } => self.send(id, Job::Flush { id }),
            Request::Close { id } => {
                self.send(id, Job::Close { id });
                if let Some(place) = self.places.remove(&id) {
                    self.threads[place.thread].converters -= 1;
                    self.taken -= place.takes;
                }
            }
            Request::Picture {
                id,
                codec,
                width,
                parameters,
                payload,
            } => {
                // One after the other on one thread, so that there is memory for one only.
                if let Some(thread) = self.threads.first() {
                    let picture = Picture {
                        id,
                        codec,
                        width,
                        parameters,
                        payload,
                    };
                    // A thread ends with the process only.
                    let _ = thread.jobs.send(Job::Picture(picture));
                }
            }
        }
    }

    fn open(&mut self, id: u32, source: Source, target: Target) {
        let takes = CHANNEL * u64::from(target.channels.max(1));
        if self.taken + takes > self.room || self.places.contains_key(&id) {
            return self.mouth.say(&Answer::Failed {
                id,
                problem: Problem::TooMany,
                words: format!("there are {}, and no room for one more", self.places.len()),
            });
        }
        let idlest = self
            .threads
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, thread)| thread.converters);
        let Some((number, thread)) = idlest else { return };
        thread.converters += 1;
        self.taken += takes;
        self.places.insert(id, Place { thread: number, takes });
        self.send(id, Job::Open { id, source, target });
    }

    fn send(&self, id: u32, job: Job) {
        if let Some(place) = self.places.get(&id) {
            // A thread ends with the process only.
            let _ = self.threads[place.thread].jobs.send(job);
        }
    }
}

/// What one thread works with.
struct Bench {
    converters: HashMap<u32, Converter>,
    mouth: Mouth,
}

impl Bench {
    fn new(mouth: Mouth) -> Bench {
        Bench {
            converters: HashMap::new(),
            mouth,
        }
    }

    fn work(mut self, queue: &mpsc::Receiver<Job>) {
        for job in queue {
            match job {
                Job::Open { id, source, target } => self.open(id, &source, target),
                Job::Packet { id, pts, payload } => self.convert(id, |converter, packets| {
                    let problem = converter.push(pts, &payload, packets)?;
                    Ok(Some(problem))
                }),
                Job::Flush { id } => self.convert(id, |converter, packets| {
                    converter.flush(packets)?;
                    Ok(None)
                }),
                Job::Close { id } => drop(self.converters.remove(&id)),
                Job::Picture(picture) => self.mouth.say(&look(&picture)),
            }
        }
    }

    fn open(&mut self, id: u32, source: &Source, target: Target) {
        self.mouth.say(&match Converter::open(source, target) {
            Ok(converter) => {
                let parameters = converter.parameters().clone();
                self.converters.insert(id, converter);
                Answer::Opened { id, parameters }
            }
            Err(failure) => failed(id, failure),
        });
    }

    /// Lets a converter work; what it did to a packet is answered, `None` is the end of them.
    fn convert(
        &mut self,
        id: u32,
        work: impl FnOnce(&mut Converter, &mut Vec<Packet>) -> Result<Option<Option<Problem>>, Failure>,
    ) {
        let Some(converter) = self.converters.get_mut(&id) else {
            return;
        };
        let mut packets = Vec::new();
        let answer = match work(converter, &mut packets) {
            Ok(Some(problem)) => Answer::Converted { id, problem, packets },
            Ok(None) => {
                self.converters.remove(&id);
                Answer::Flushed { id, packets }
            }
            Err(failure) => {
                self.converters.remove(&id);
                failed(id, failure)
            }
        };
        self.mouth.say(&answer);
    }
}

fn look(picture: &Picture) -> Answer {
    let id = picture.id;
    let made = av::jpeg(
        picture.codec,
        &picture.parameters,
        &picture.payload,
        picture.width.into(),
    );
    let (problem, words) = match made {
        Ok(jpeg) => return Answer::Picture { id, jpeg },
        Err(av::Failure::Codec(words)) => (Problem::Source, words),
        Err(av::Failure::Picture(words)) => (Problem::Picture, words),
        Err(av::Failure::Encoder(words)) => (Problem::Inside, words),
    };
    Answer::Failed { id, problem, words }
}

fn failed(id: u32, failure: Failure) -> Answer {
    Answer::Failed {
        id,
        problem: failure.problem,
        words: failure.words,
    }
}
