//! The child's side: a process that can do nothing but compute, and compiles what it is handed.
//!
//! A component that fools the compiler is a program of a stranger inside this process. So it gives up what it will not
//! need before it reads the first byte: it opens no file and no socket any more, has no privileges, and dies with the
//! server.

use std::{
    fs, io,
    os::{fd::AsFd, unix::net::UnixStream},
    panic,
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit},
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
    time::{ClockId, clock_gettime},
};
use wasmtime::Engine;

use super::wire::{self, Bounds};
use crate::engine;

/// The first argument of a program that is to call [`compile_worker`] and nothing else.
pub const COMPILE_ARGUMENT: &str = "--compile-plugins";

/// Behind everything that serves somebody.
const NICE: i32 = 10;

/// Compiles what comes through the socket that is this process's standard input, until the other side hangs up. Limits
/// the whole process, so nothing else can be done in it.
///
/// # Errors
/// What keeps it from working: no socket, or a system that refuses the limits.
pub fn compile_worker() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    confine()?;
    // What panics is answered in words; the hook would only write to a pipe that nobody reads meanwhile.
    panic::set_hook(Box::new(|_| {}));
    let engine = Engine::new(&engine::compiling()).map_err(|error| io::Error::other(format!("{error:#}")))?;
    while let Some((bounds, component)) = wire::read_request(&socket)? {
        limit(&bounds)?;
        wire::write_answer(&socket, &super::compile(&engine, &component))?;
    }
    Ok(())
}

fn confine() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // When memory runs out, this is what the system should end. Not every system has it.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = nice(NICE);
    set_no_new_privs(true)?;
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Whatever is open stays open: the socket, and the pipe for last words.
    setrlimit(Resource::Nofile, nothing)?;
    setrlimit(Resource::Nproc, nothing)?;
    setrlimit(Resource::Core, nothing)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // Without them, root cannot raise those limits again either.
    set_capabilities(None, none)?;
    Ok(())
}

/// Sets the bounds of one compilation. Past its processor time the process gets SIGXCPU and ends; where memory is
/// refused, it aborts.
fn limit(bounds: &Bounds) -> io::Result<()> {
    // A second that has begun is over before it counts.
    let seconds = used().as_secs() + 1 + u64::from(bounds.seconds);
    for (resource, bound) in [(Resource::Cpu, seconds), (Resource::Data, bounds.memory)] {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let current = Some(maximum.map_or(bound, |maximum| bound.min(maximum)));
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// Processor time of this process so far.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_secs(time.tv_sec.try_into().unwrap_or(0))
}
