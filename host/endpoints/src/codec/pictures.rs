//! Keyframes become pictures, in a worker of their own: one that a hostile keyframe ends or keeps busy costs nobody's sound.
//!
//! One keyframe is decoded at a time, on behalf of one thread that waits for it; requests that wait for the thread are
//! bounded, and so is the time of each. The worker is started by the first, and kept until nobody has asked for a while.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, TrySendError},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtx_codec::wire::{Answer, PICTURE_LEN, Problem, Request, SETS_LEN, VERSION, Video};
use wasmtx_media::Codec;

use super::{Options, is_program, process::Process};

/// Requests that wait for the thread. When it is full, one more is refused.
const QUEUE: usize = 16;
/// Answers of the worker that nobody has looked at; there is one request at a time.
const ANSWERS: usize = 2;

/// A keyframe that is to become a picture.
#[derive(Clone, Debug)]
pub struct Keyframe {
    /// Its codec, with the parameters that it needs.
    pub codec: Codec,
    /// In the form of the codec.
    pub payload: Bytes,
}

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPicture {
    /// There is no program that decodes.
    #[error("{0}")]
    Missing(String),
    /// As many are waited for as may be.
    #[error("too many pictures are being made")]
    Busy,
    /// Nothing here decodes it.
    #[error("no picture can be made of {0}")]
    Codec(String),
    /// The decoder does not take it.
    #[error("the keyframe cannot be decoded: {0}")]
    Broken(String),
    /// The worker ended, or did not answer in time.
    #[error("the keyframe was not decoded: {0}")]
    Failed(String),
}

/// Makes pictures. Cheap to clone; the worker ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Pictures(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    /// The way to the thread, while there is one.
    jobs: Mutex<Option<mpsc::SyncSender<Job>>>,
}

struct Job {
    keyframe: Keyframe,
    width: u16,
    made: oneshot::Sender<Result<Bytes, NoPicture>>,
}

impl Pictures {
    /// Starts nothing yet. `options.memory` bounds the worker: a picture of 8K takes 300 MB while it is decoded.
    pub fn new(options: Options) -> Pictures {
        Pictures(Arc::new(Shared {
            options,
            jobs: Mutex::default(),
        }))
    }

    /// A JPEG of the keyframe, of `width` pixels in a row where it has more; 0: as many as it has. Waits for those that were
    /// asked for before.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn jpeg(&self, keyframe: Keyframe, width: u16) -> Result<Bytes, NoPicture> {
        if keyframe.codec == Codec::Mjpeg && width == 0 {
            return Ok(keyframe.payload);
        }
        is_program(&self.0.options.program)
            .map_err(|why| NoPicture::Missing(format!("pictures cannot be decoded without {why}")))?;
        let (made, picture) = oneshot::channel();
        self.send(Job { keyframe, width, made })?;
        picture
            .await
            .unwrap_or_else(|_| Err(NoPicture::Failed("nobody decodes any more".to_owned())))
    }

    fn send(&self, job: Job) -> Result<(), NoPicture> {
        let mut jobs = self.0.jobs.lock();
        let sender = match &*jobs {
            Some(sender) => sender,
            None => jobs.insert(Studio::start(&self.0)?),
        };
        match sender.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(NoPicture::Busy),
            Err(TrySendError::Disconnected(_)) => {
                // The thread panicked; the next request starts another.
                *jobs = None;
                Err(NoPicture::Failed("nobody decodes any more".to_owned()))
            }
        }
    }
}

/// What the thread works with.
struct Studio {
    /// Without holding on to it: the thread ends when everybody else has let go.
    shared: std::sync::Weak<Shared>,
    options: Options,
    jobs: mpsc::Receiver<Job>,
    worker: Option<Worker>,
    /// Of the last picture.
    id: u32,
}

/// A process, and what it says.
struct Worker {
    process: Process,
    answers: mpsc::Receiver<Answer>,
}

impl Studio {
    fn start(shared: &Arc<Shared>) -> Result<mpsc::SyncSender<Job>, NoPicture> {
        let (sender, jobs) = mpsc::sync_channel(QUEUE);
        let studio = Studio {
            shared: Arc::downgrade(shared),
            options: shared.options.clone(),
            jobs,
            worker: None,
            id: 0,
        };
        let started = thread::Builder::new()
            .name("codec-pictures".to_owned())
            .spawn(move || studio.run());
        started.map_err(|error| NoPicture::Failed(error.to_string()))?;
        Ok(sender)
    }

    fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(self.options.idle) {
                // Who does not wait any more needs no picture.
                Ok(job) if job.made.is_closed() => {}
                Ok(job) => {
                    let made = self.make(&job.keyframe, job.width);
                    let _ = job.made.send(made);
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let Some(shared) = self.shared.upgrade() else { return };
                    let mut sender = shared.jobs.lock();
                    // One that came just now is in the queue, and no other can come while the lock is held.
                    match self.jobs.try_recv() {
                        Ok(job) => {
                            drop(sender);
                            let made = self.make(&job.keyframe, job.width);
                            let _ = job.made.send(made);
                        }
                        Err(_) => {
                            *sender = None;
                            return;
                        }
                    }
                }
            }
        }
    }

    fn make(&mut self, keyframe: &Keyframe, width: u16) -> Result<Bytes, NoPicture> {
        let request = self.request(keyframe, width)?;
        let mut worker = match self.worker.take() {
            Some(worker) if !worker.process.is_gone() => worker,
            _ => self.spawn()?,
        };
        match worker.ask(&request, self.options.patience) {
            Ok(made) => {
                self.worker = Some(worker);
                made
            }
            Err(why) => {
                let how = worker.process.end().how;
                tracing::warn!("a worker that decodes pictures is replaced: {why} ({how})");
                Err(NoPicture::Failed(why.to_owned()))
            }
        }
    }

    fn request(&mut self, keyframe: &Keyframe, width: u16) -> Result<Request, NoPicture> {
        let codec = match &keyframe.codec {
            Codec::H264(_) => Video::H264,
            Codec::H265(_) => Video::H265,
            Codec::Av1(_) => Video::Av1,
            Codec::Vp8 => Video::Vp8,
            Codec::Vp9 => Video::Vp9,
            Codec::Mjpeg => Video::Jpeg,
            other => return Err(NoPicture::Codec(other.name().to_owned())),
        };
        let parameters = keyframe.codec.parameters();
        if keyframe.payload.len() > PICTURE_LEN || parameters.len() > SETS_LEN {
            return Err(NoPicture::Broken("it is too large".to_owned()));
        }
        self.id = self.id.wrapping_add(1);
        Ok(Request::Picture {
            id: self.id,
            codec,
            width,
            parameters,
            payload: keyframe.payload.clone(),
        })
    }

    fn spawn(&self) -> Result<Worker, NoPicture> {
        let (to, answers) = mpsc::sync_channel(ANSWERS);
        let options = &self.options;
        // One that says more than it is asked is cut off.
        let hear = move |body: Option<Bytes>| match body.map(Answer::parse) {
            Some(Ok(answer)) => to.try_send(answer).is_ok(),
            _ => false,
        };
        let failed = |error: std::io::Error| NoPicture::Failed(error.to_string());
        let mut process = Process::spawn(&options.program, options.patience, hear).map_err(failed)?;
        let hello = Request::Hello {
            version: VERSION,
            memory: options.memory,
            threads: 1,
        };
        let mut wire = Vec::new();
        let written = hello.write(&mut wire).map_err(std::io::Error::from);
        written.and_then(|()| process.write(&wire)).map_err(failed)?;
        let mut worker = Worker { process, answers };
        match worker.hear(Instant::now() + options.patience) {
            Ok(Answer::Hello { version: VERSION }) => Ok(worker),
            Ok(_) => Err(NoPicture::Failed("the worker is of another version".to_owned())),
            Err(why) => Err(NoPicture::Failed(why.to_owned())),
        }
    }
}

impl Worker {
    /// What it makes of a request; an error when it is of no use any more.
    fn ask(
        &mut self,
        request: &Request,
        patience: std::time::Duration,
    ) -> Result<Result<Bytes, NoPicture>, &'static str> {
        let deadline = Instant::now() + patience;
        let Request::Picture { id: asked, .. } = request else {
            return Err("nothing was asked");
        };
        let mut wire = Vec::new();
        request.write(&mut wire).map_err(|_| "the request is too long")?;
        self.process.write(&wire).map_err(|_| "it ended")?;
        match self.hear(deadline)? {
            Answer::Picture { id, jpeg } if id == *asked => Ok(Ok(jpeg)),
            Answer::Failed { id, problem, words } if id == *asked => {
                let words: String = words.chars().filter(|letter| !letter.is_control()).collect();
                Ok(Err(match problem {
                    Problem::Source => NoPicture::Codec(words),
                    _ => NoPicture::Broken(words),
                }))
            }
            _ => Err("it says what nobody asked"),
        }
    }

    fn hear(&mut self, deadline: Instant) -> Result<Answer, &'static str> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.answers.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => "it does not answer",
            RecvTimeoutError::Disconnected => "it ended",
        })
    }
}
