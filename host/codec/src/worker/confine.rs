//! What this process gives up before it reads the first byte of a stranger: it opens no file and no socket any more, starts
//! nothing, has no privileges, and dies with the server.

use std::{fs, io};

use rustix::{
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
};

/// Everything but threads. To be called before there are any: what is given up, they inherit.
pub(super) fn give_up() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // When memory runs out, this is what the system should end: the server starts another. Not every system has it.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    set_no_new_privs(true)?;
    // Whatever is open stays open: the three streams.
    setrlimit(Resource::Nofile, NOTHING)?;
    setrlimit(Resource::Core, NOTHING)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // Without them, root cannot raise those limits again either.
    set_capabilities(None, none)?;
    Ok(())
}

/// No more threads, and `memory` bytes. Where more is refused, the process aborts.
pub(super) fn limit(memory: u64) -> io::Result<()> {
    setrlimit(Resource::Nproc, NOTHING)?;
    let Rlimit { maximum, .. } = getrlimit(Resource::Data);
    let bound = Some(maximum.map_or(memory, |maximum| memory.min(maximum)));
    setrlimit(
        Resource::Data,
        Rlimit {
            current: bound,
            maximum: bound,
        },
    )?;
    Ok(())
}

const NOTHING: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};
