//! Bytes to machine code: on a thread of its own, because a component of a megabyte takes a second and media must not
//! notice, and in a process of its own, because a small file can make a compiler take minutes and gigabytes.

mod child;
mod wire;
mod worker;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use wasmtime::{Engine, component::Component};

pub use self::worker::{COMPILE_ARGUMENT, compile_worker};
use self::{
    child::{Child, Outcome},
    wire::Bounds,
};
use crate::{
    Error,
    cache::{Cache, Compiled, Digest},
    limits::Limits,
};

/// Components waiting for the compiler; whoever brings one more waits for a place.
const QUEUE: usize = 16;
/// For so long the child waits for the next component: several plugins often change together.
const IDLE: Duration = Duration::from_secs(30);

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiling {
    /// On a thread of this process, unbounded in time and memory: for tests and benches, whose guests are their own.
    #[default]
    Here,
    /// In a child process with bounds. The program calls [`compile_worker`] when its first argument is
    /// [`COMPILE_ARGUMENT`]; what it answers is run as machine code, so it must be the program that calls this.
    Child(PathBuf),
}

impl Compiling {
    /// In a child of the running program, whatever has become of its file since.
    pub fn child() -> Compiling {
        Compiling::Child("/proc/self/exe".into())
    }
}

struct Job {
    bytes: Arc<[u8]>,
    digest: Digest,
    bounds: Bounds,
    done: mpsc::SyncSender<Result<Component, String>>,
}

/// The compile thread. It ends when this is dropped, and the child with it.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    jobs: mpsc::SyncSender<Job>,
}

impl Compiler {
    pub(crate) fn new(engine: &Engine, cache: Option<Cache>, compiling: Compiling) -> Result<Compiler, Error> {
        let cache = cache.map(Arc::new);
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let mut bench = Bench {
            engine: engine.clone(),
            cache: cache.clone(),
            compiling,
            child: None,
        };
        thread::Builder::new()
            .name("wasmtx-compile".into())
            .spawn(move || bench.work(&queue))
            .map_err(Error::Thread)?;
        Ok(Compiler {
            engine: engine.clone(),
            cache,
            jobs,
        })
    }

    /// The machine code of an admitted component, from the cache or compiled. Blocks until it is there.
    ///
    /// # Errors
    /// The compiler's words, or the bound that it met.
    pub(crate) fn compile(&self, bytes: &Arc<[u8]>, digest: &Digest, limits: &Limits) -> Result<Component, String> {
        // A tenth of a millisecond: not worth the way to the other thread, where it could wait behind a compilation.
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest)) {
            return Ok(component);
        }
        let (done, result) = mpsc::sync_channel(1);
        let gone = |_| "the compile thread is gone".to_owned();
        self.jobs
            .send(Job {
                bytes: bytes.clone(),
                digest: *digest,
                bounds: Bounds::of(limits),
                done,
            })
            .map_err(|_| gone(()))?;
        result.recv().map_err(|_| gone(()))?
    }
}

/// What the compile thread works with.
struct Bench {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    compiling: Compiling,
    child: Option<Child>,
}

impl Bench {
    fn work(&mut self, queue: &mpsc::Receiver<Job>) {
        loop {
            let job = match &self.child {
                None => queue.recv().map_err(Into::into),
                Some(_) => queue.recv_timeout(IDLE),
            };
            match job {
                Ok(job) => {
                    // Whoever asked may have given up.
                    let _ = job.done.send(self.component(&job));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.child = None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn component(&mut self, job: &Job) -> Result<Component, String> {
        let code = match &self.compiling {
            Compiling::Here => compile(&self.engine, &job.bytes),
            Compiling::Child(program) => {
                let mut answer = child::compile(&mut self.child, program, &job.bytes, &job.bounds);
                if matches!(answer, Outcome::Killed(_)) {
                    // By nothing that we set, so perhaps not because of this component.
                    answer = child::compile(&mut self.child, program, &job.bytes, &job.bounds);
                }
                answer.into_result()
            }
        }
        .map_err(|error| explain(&error))?;
        let code = Compiled::by_our_compiler(code);
        let component = code.load(&self.engine).map_err(|error| format!("{error:#}"))?;
        if let Some(cache) = &self.cache
            && let Err(reason) = cache.store(&job.digest, &code)
        {
            tracing::warn!(%reason, "compiled plugin is not kept: the next start compiles it again");
        }
        Ok(component)
    }
}

/// Machine code in the form that [`Compiled`] loads.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    // The compiler has panicked on odd components; that is the component's problem, not the server's.
    catch_unwind(AssertUnwindSafe(|| engine.precompile_component(bytes)))
        .map_err(|_| "the compiler panics on it".to_owned())?
        .map_err(|error| format!("{error:#}"))
}

/// Adds the remedy where the cause is a known switch of a toolchain.
fn explain(error: &str) -> String {
    if error.contains("component model async") {
        return format!("{error}; build it with synchronous exports (componentize-qjs: `--sync`)");
    }
    error.to_owned()
}
