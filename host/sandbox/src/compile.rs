//! Bytes to machine code, on a thread of its own: a component of a megabyte takes a second, and media must not notice.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use wasmtime::{Engine, component::Component};

use crate::{
    Error,
    cache::{Cache, Digest},
};

/// Components waiting for the compiler; whoever brings one more waits for a place.
const QUEUE: usize = 16;

struct Job {
    bytes: Arc<[u8]>,
    digest: Digest,
    done: mpsc::SyncSender<Result<Component, String>>,
}

/// The compile thread. It ends when this is dropped.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    jobs: mpsc::SyncSender<Job>,
}

impl Compiler {
    pub(crate) fn new(engine: &Engine, cache: Option<Cache>) -> Result<Compiler, Error> {
        let cache = cache.map(Arc::new);
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let (compiling, keeping) = (engine.clone(), cache.clone());
        thread::Builder::new()
            .name("wasmtx-compile".into())
            .spawn(move || {
                for job in queue {
                    let result = compile(&compiling, keeping.as_deref(), &job.bytes, &job.digest);
                    // Whoever asked may have given up.
                    let _ = job.done.send(result);
                }
            })
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
    /// The compiler's words.
    pub(crate) fn compile(&self, bytes: &Arc<[u8]>, digest: &Digest) -> Result<Component, String> {
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
                done,
            })
            .map_err(|_| gone(()))?;
        result.recv().map_err(|_| gone(()))?
    }
}

fn compile(engine: &Engine, cache: Option<&Cache>, bytes: &[u8], digest: &Digest) -> Result<Component, String> {
    // The compiler has panicked on odd components; that is the component's problem, not the server's.
    let component = catch_unwind(AssertUnwindSafe(|| Component::new(engine, bytes)))
        .map_err(|_| "the compiler panics on it".to_owned())?
        .map_err(|error| explain(&format!("{error:#}")))?;
    if let Some(cache) = cache {
        let kept = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| cache.store(digest, &code).map_err(|error| error.to_string()));
        if let Err(reason) = kept {
            tracing::warn!(%reason, "compiled plugin is not kept: the next start compiles it again");
        }
    }
    Ok(component)
}

/// Adds the remedy where the cause is a known switch of a toolchain.
fn explain(error: &str) -> String {
    if error.contains("component model async") {
        return format!("{error}; build it with synchronous exports (componentize-qjs: `--sync`)");
    }
    error.to_owned()
}
