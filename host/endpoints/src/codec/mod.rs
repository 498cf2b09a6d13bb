//! Re-encoding of sound and decoding of pictures, by processes of their own: what a stranger's stream does to a decoder ends a
//! worker and not the server. Here is the server's side of `wasmtx-codec`.
//!
//! Nothing here waits for the worker. Packets that it cannot take are dropped and counted, what it made is fetched when it is
//! there. One process serves all converters with a few threads; it is started by the first, kept until the last has been gone
//! for a while, and replaced when it ends or is stuck. Its converters go on in the next one, behind a gap.

mod form;
mod link;
mod pictures;
mod process;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    env, fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use wasmtx_media::{Frame, Track};

pub use self::form::{Form, Wanted};
pub use self::link::Report;
pub use self::pictures::{Keyframe, NoPicture, Pictures};
use self::{
    link::Link,
    supervisor::{Orders, Supervisor},
};

/// The program's name, beside the server's.
pub const PROGRAM: &str = "wasmtx-codec";

/// How workers are run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The program that re-encodes.
    pub program: PathBuf,
    /// Bytes that a worker may have written to at once, its code apart. A converter takes two MiB of it, more for more than two
    /// channels; those that find no room are tried again.
    pub memory: u64,
    /// Threads of a worker.
    pub threads: u8,
    /// So long a worker is kept for the next converter.
    pub idle: Duration,
    /// A worker that has not answered for so long is stuck, and replaced.
    pub patience: Duration,
    /// The pause before a worker is replaced: at first, and at most.
    pub pauses: (Duration, Duration),
}

impl Default for Options {
    fn default() -> Options {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Options {
            program: env::current_exe().unwrap_or_default().with_file_name(PROGRAM),
            memory: 1 << 30,
            threads: u8::try_from(cores.min(16)).unwrap_or(16),
            idle: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            pauses: (Duration::from_millis(100), Duration::from_secs(10)),
        }
    }
}

/// What re-encoding has done since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Workers that run.
    pub workers: u64,
    /// Workers that were started.
    pub starts: u64,
    /// Those of them that took the place of one that ended or was stuck.
    pub restarts: u64,
    /// Converters that are open.
    pub converters: u64,
    /// Packets that converters were given.
    pub packets_in: u64,
    /// Packets that were made.
    pub packets_out: u64,
    /// Packets that came to nothing: there was no worker, or it had as much to do as it may.
    pub packets_lost: u64,
    /// Packets that their codec could not read.
    pub packets_broken: u64,
    /// Processor time of all workers.
    pub cpu: Duration,
}

/// The workers of a server. Cheap to clone; the process ends when the last clone and the last converter are gone.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    options: Options,
    next: AtomicU32,
    converters: Mutex<Converters>,
    counts: Counts,
}

/// Who is there, and the way to the one who serves them.
#[derive(Default)]
struct Converters {
    by_id: HashMap<u32, Arc<Link>>,
    orders: Option<Orders>,
}

#[derive(Default)]
struct Counts {
    workers: AtomicU64,
    starts: AtomicU64,
    restarts: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    packets_lost: AtomicU64,
    packets_broken: AtomicU64,
    /// Of workers that have ended, in milliseconds.
    cpu: AtomicU64,
    /// The process that runs, 0 when there is none.
    pid: AtomicU32,
}

impl Workers {
    /// Starts nothing yet.
    pub fn new(options: Options) -> Workers {
        Workers(Arc::new(Shared {
            options,
            next: AtomicU32::new(1),
            converters: Mutex::default(),
            counts: Counts::default(),
        }))
    }

    /// Whether there is a program to start.
    ///
    /// # Errors
    /// One sentence that names its file.
    pub fn ready(&self) -> Result<(), String> {
        is_program(&self.0.options.program).map_err(|why| format!("sound cannot be re-encoded without {why}"))
    }

    /// What a track would be in the form that is asked for. Starts nothing.
    ///
    /// # Errors
    /// Why it cannot be had, in one sentence.
    pub fn form(&self, source: &Track, wanted: &Wanted) -> Result<Form, String> {
        self.ready()?;
        form::form(source, wanted)
    }

    /// Begins to make a track of `source`, for the stream on `path`, in a form that [`form`](Workers::form) answered.
    /// Never waits: what can fail fails later, and is tried again.
    pub fn open(&self, path: &str, source: &Track, form: &Form) -> Converter {
        let id = self.0.next.fetch_add(1, Relaxed);
        let link = match (form::source(source), form::target(form)) {
            (Ok(source), Ok(target)) => Link::new(id, path, source, target, form.codec.parameters()),
            (Err(why), _) | (_, Err(why)) => return Converter::stillborn(&self.0, path, &why),
        };
        let link = Arc::new(link);
        let mut converters = self.0.converters.lock();
        converters.by_id.insert(id, link.clone());
        let orders = converters
            .orders
            .get_or_insert_with(|| Supervisor::start(&self.0))
            .clone();
        drop(converters);
        Converter {
            link,
            shared: self.0.clone(),
            orders: Some(orders),
        }
    }

    /// What was done so far.
    pub fn statistics(&self) -> Statistics {
        let counts = &self.0.counts;
        let pid = counts.pid.load(Relaxed);
        let ended = Duration::from_millis(counts.cpu.load(Relaxed));
        Statistics {
            workers: counts.workers.load(Relaxed),
            starts: counts.starts.load(Relaxed),
            restarts: counts.restarts.load(Relaxed),
            converters: self.0.converters.lock().by_id.len() as u64,
            packets_in: counts.packets_in.load(Relaxed),
            packets_out: counts.packets_out.load(Relaxed),
            packets_lost: counts.packets_lost.load(Relaxed),
            packets_broken: counts.packets_broken.load(Relaxed),
            cpu: ended + process::cpu(pid).unwrap_or_default(),
        }
    }
}

/// Whether there is a program in that file; else its name and what is wrong with it.
fn is_program(program: &Path) -> Result<(), String> {
    let why = match std::fs::metadata(program) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => return Ok(()),
        Ok(_) => "it is no program".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!("{}, which comes with wasmtx: {why}", program.display()))
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Workers").field(&self.0.options.program).finish()
    }
}

/// Makes one track of another. Nothing here waits. What it works with ends when it is dropped.
pub struct Converter {
    link: Arc<Link>,
    shared: Arc<Shared>,
    /// `None` when nothing can be made.
    orders: Option<Orders>,
}

impl Converter {
    /// One that makes nothing.
    fn stillborn(shared: &Arc<Shared>, path: &str, why: &str) -> Converter {
        tracing::warn!(path, "sound is not re-encoded: {why}");
        Converter {
            link: Arc::new(Link::nothing(path)),
            shared: shared.clone(),
            orders: None,
        }
    }

    /// Takes the next frame of the source; answers whether it took it: it does not where as much is under way as may be.
    /// What is made behind a frame that came to nothing is marked as a discontinuity.
    pub fn push(&mut self, frame: &Frame) -> bool {
        let counts = &self.shared.counts;
        counts.packets_in.fetch_add(1, Relaxed);
        let mut taken = self.link.begin(frame.payload.len(), Instant::now());
        let orders = self.orders.as_ref().filter(|_| taken);
        if orders.is_some_and(|orders| !orders.packet(&self.link, frame.pts, &frame.payload)) {
            self.link.take_back();
            taken = false;
        }
        if !taken {
            self.link.skip();
            counts.packets_lost.fetch_add(1, Relaxed);
        }
        taken
    }

    /// The next frame that is ready, in ticks of the form's clock. Track, number and wall clock are the caller's to fill in.
    pub fn pull(&mut self) -> Option<Frame> {
        self.link.pull()
    }

    /// No more frames come: what is inside may come out.
    pub fn finish(&mut self) {
        if let Some(orders) = &self.orders {
            orders.finish(&self.link);
        }
    }

    /// Whether nothing more comes out, once [`finish`](Converter::finish) was called.
    pub fn is_finished(&self) -> bool {
        self.orders.is_none() || self.link.is_finished()
    }

    /// What went wrong so far.
    pub fn report(&self) -> Report {
        self.link.report()
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        self.link.close();
        if let Some(orders) = &self.orders {
            orders.look();
        }
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter")
            .field("path", &self.link.path())
            .finish_non_exhaustive()
    }
}
