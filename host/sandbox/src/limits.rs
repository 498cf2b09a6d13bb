//! Every bound on a guest, and the meter that holds an instance to its memory.
//!
//! What a plugin's entry in mediamtx.yml may change is in [`Limits`]; the rest are constants.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use wasmtime::{ResourceLimiter, Result, bail};

use crate::hits::Limit;

/// 2^20 bytes.
pub(crate) const MIB: usize = 1 << 20;

/// The largest component file.
pub(crate) const COMPONENT_BYTES: usize = 32 * MIB;
/// The largest compiled component; machine code is about three times its component.
pub(crate) const CODE_BYTES: usize = 8 * COMPONENT_BYTES;
/// Locals of one function: register allocation grows faster than linearly with them.
pub(crate) const FUNCTION_LOCALS: u32 = 2_000;
/// Functions of all modules of a component together: 100,000 empty ones take half a minute to compile.
pub(crate) const FUNCTIONS: u32 = 50_000;
/// Modules of a component, at any depth. CPython with its libraries has 38.
pub(crate) const MODULES: u32 = 128;
/// Imports, exports, globals and segments of all modules together. Runtimes that link libraries have thousands of each.
pub(crate) const CORE_ITEMS: u32 = 100_000;
/// Instances, aliases, imports, exports and adapters of all components together.
pub(crate) const COMPONENT_ITEMS: u32 = 20_000;
/// Bytes of types: a million types of three bytes are more than any program has.
pub(crate) const TYPE_BYTES: usize = MIB;
/// Imports of the component itself.
pub(crate) const IMPORTS: u32 = 128;
/// Exports of the component itself.
pub(crate) const EXPORTS: u32 = 64;
/// Components and modules inside one another. Script runtimes nest two or three deep.
pub(crate) const NESTING: usize = 8;

/// Linear memory of an instance: what the pool has for each.
pub(crate) const MEMORY: usize = 64 * MIB;
/// Table elements of an instance, all tables together: what the pool has for each.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// The stack of a guest; deeper recursion is a trap.
pub(crate) const STACK: usize = 512 << 10;
/// Instances alive at once in the whole server.
pub(crate) const INSTANCES: u32 = 4_096;
/// Frames that one frame may become on its way through a whole chain.
pub(crate) const CHAIN_EMITS: usize = 256;
/// The largest key-value store that may be set for a plugin: it is in memory, and written whole.
pub(crate) const KV_BYTES: usize = 64 * MIB;
/// And its keys.
pub(crate) const KV_KEYS: usize = 1 << 16;
/// Plugins in the list of one path.
pub(crate) const CHAIN_LENGTH: usize = 32;

/// The shortest interval of ticks.
pub(crate) const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// Questions to one plugin in one configuration that are being answered, those that wait for a backend among them: each has
/// an instance to itself.
pub(crate) const ASKED: usize = 256;
/// Questions that may wait until one of those is over; one more is a failure.
pub(crate) const ASKING: usize = 1_024;
/// Bytes of linear memory of all instances that answer questions for one plugin in one configuration.
pub(crate) const POOL_MEMORY: usize = 1_024 * MIB;
/// Stacks of calls off the media path in the whole server. Address space: what was never used takes no memory.
pub(crate) const STACKS: u32 = 4_096;

/// The bounds that a plugin's entry in mediamtx.yml may change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of linear memory of one instance, all memories together. At most 64 MiB.
    pub memory: usize,
    /// Elements of its tables, all together. At most 20,000.
    pub table: usize,
    /// One `filter.frame` call, by the time that it really runs. Every reader of the path waits for it, so keep it short.
    pub frame: Duration,
    /// `configure`, `open` and `close`, each.
    pub open: Duration,
    /// `save` and `restore`, each: both stand between two frames.
    pub state: Duration,
    /// `tick`.
    pub tick: Duration,
    /// Time that one auth decision may spend running guest code. Waiting in the host does not count.
    pub auth_running: Duration,
    /// Time that one auth decision may take in all.
    pub auth_wall: Duration,
    /// As the two for auth, for one answer of a resolver.
    pub resolve_running: Duration,
    /// See there.
    pub resolve_wall: Duration,
    /// As the two for auth, for one event.
    pub event_running: Duration,
    /// See there.
    pub event_wall: Duration,
    /// As the two for auth, for one batch of a sink.
    pub sink_running: Duration,
    /// See there.
    pub sink_wall: Duration,
    /// Instances that decide or resolve at once. Those that wait for an answer from outside do not count.
    pub instances: usize,
    /// Share of one core that the plugin's filters may use together, in percent, over one second. Past it, frames go
    /// round the plugin as its failure policy says.
    pub share: u32,
    /// Frames that one filter may hold.
    pub held_frames: usize,
    /// Their bytes.
    pub held_bytes: usize,
    /// Frames that one sink may keep beside the batch at hand: a part of a recording, and what comes while the disk takes it.
    pub sink_held_frames: usize,
    /// Their bytes.
    pub sink_held_bytes: usize,
    /// Frames that a filter may emit in one call; when the stream ends, as many as it may hold.
    pub emits: usize,
    /// The largest payload that a filter may make.
    pub payload: usize,
    /// The largest state handed over at a hot swap.
    pub snapshot: usize,
    /// What a guest may hand to the host in one call.
    pub hostcall: usize,
    /// Resource handles that a guest may own.
    pub handles: usize,
    /// Lines that the plugin may log in one second.
    pub log_lines: u32,
    /// Bytes of one line; the rest is cut.
    pub log_line: usize,
    /// Series of its own on one path.
    pub series: usize,
    /// Keys and values of its store together. At most 64 MiB.
    pub kv: usize,
    /// Its keys. At most 65,536.
    pub kv_keys: usize,
    /// Bytes of one value.
    pub kv_value: usize,
    /// Requests by HTTP at once; further ones wait, within their own time.
    pub http_requests: usize,
    /// One request, whatever the guest says. One that names no time has 3 s.
    pub http_timeout: Duration,
    /// Bytes of the body of a request, and of an answer.
    pub http_body: usize,
    /// Bytes of code of one function; a compiler takes minutes over a function of half a megabyte.
    pub function: usize,
    /// Processor time for compiling the component, in whole seconds.
    pub compile: Duration,
    /// Memory for compiling the component, in the process that does it.
    pub compile_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: MEMORY,
            table: TABLE_ELEMENTS,
            frame: Duration::from_millis(2),
            open: Duration::from_millis(250),
            state: Duration::from_millis(10),
            tick: Duration::from_millis(10),
            auth_running: Duration::from_millis(50),
            auth_wall: Duration::from_secs(5),
            resolve_running: Duration::from_millis(50),
            resolve_wall: Duration::from_secs(5),
            event_running: Duration::from_millis(100),
            event_wall: Duration::from_secs(30),
            sink_running: Duration::from_millis(100),
            sink_wall: Duration::from_secs(60),
            instances: 8,
            share: 50,
            held_frames: 256,
            held_bytes: 32 * MIB,
            sink_held_frames: 4_096,
            sink_held_bytes: 96 * MIB,
            emits: 16,
            payload: 16 * MIB,
            snapshot: MIB,
            hostcall: 8 * MIB,
            handles: 8_192,
            log_lines: 50,
            log_line: 4 << 10,
            series: 64,
            kv: MIB,
            kv_keys: 1_024,
            kv_value: 64 << 10,
            http_requests: 8,
            http_timeout: Duration::from_secs(60),
            http_body: MIB,
            function: 128 << 10,
            compile: Duration::from_secs(30),
            compile_memory: 2 << 30,
        }
    }
}

/// Counts what one instance takes, over all of its memories and tables: wasmtime's own limiter looks at each alone.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    memory: usize,
    table: usize,
    elements: usize,
    refused: Option<Limit>,
    /// Memory of all instances of a pool, this one's included.
    pool: Option<Arc<AtomicUsize>>,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Meter {
        Meter {
            limit: limits.memory.min(MEMORY),
            memory: 0,
            table: limits.table.min(TABLE_ELEMENTS),
            elements: 0,
            refused: None,
            pool: None,
        }
    }

    /// Counts the instance into a pool's memory, too. Before it has any.
    pub(crate) fn join(&mut self, pool: &Arc<AtomicUsize>) {
        self.pool = Some(pool.clone());
    }

    /// Takes more out of the pool, if there is so much left.
    fn take(&self, more: usize) -> bool {
        let take = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= POOL_MEMORY);
        let taken = |pool: &Arc<AtomicUsize>| pool.fetch_update(Relaxed, Relaxed, take).is_ok();
        self.pool.as_ref().is_none_or(taken)
    }

    /// Bytes of linear memory now.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Why a growth was refused, if one was; the guest's own error afterwards is only an `unreachable`.
    pub(crate) fn refused(&self) -> Option<Limit> {
        self.refused
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.fetch_sub(self.memory, Relaxed);
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.limit {
            self.refused = Some(Limit::Memory);
            // A trap with a reason, instead of a failed growth that the guest turns into one without.
            bail!(
                "the instance would need {total} bytes of memory, its limit is {} (memory)",
                self.limit
            );
        }
        if !self.take(total.saturating_sub(self.memory)) {
            self.refused = Some(Limit::PoolMemory);
            bail!("the plugin's instances would need more than {POOL_MEMORY} bytes of memory together");
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.elements.saturating_sub(current).saturating_add(desired);
        if total > self.table {
            self.refused = Some(Limit::TableElements);
            bail!(
                "the instance would need {total} table elements, its limit is {} (tableElements)",
                self.table
            );
        }
        self.elements = total;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(memory: usize) -> Meter {
        Meter::new(&Limits {
            memory,
            ..Limits::default()
        })
    }

    #[test]
    fn memories_are_summed() {
        let mut meter = meter(3 * MIB);
        assert!(meter.memory_growing(0, 2 * MIB, None).is_ok());
        assert!(meter.memory_growing(0, MIB, None).is_ok());
        assert_eq!(meter.memory(), 3 * MIB);
        assert!(meter.memory_growing(MIB, 2 * MIB, None).is_err());
        assert_eq!(meter.refused(), Some(Limit::Memory));
        assert_eq!(meter.memory(), 3 * MIB);
    }

    #[test]
    fn the_instances_of_a_pool_share_its_memory_and_give_it_back() {
        let pool = Arc::new(AtomicUsize::new(0));
        let full = || {
            let mut meter = meter(64 * MIB);
            meter.join(&pool);
            meter.memory_growing(0, 64 * MIB, None).map(|_| meter)
        };
        let mut meters: Vec<_> = (0..16).map(|_| full().unwrap()).collect();
        assert!(full().is_err());
        assert_eq!(pool.load(Relaxed), POOL_MEMORY);
        meters.pop();
        assert!(full().is_ok());
        meters.clear();
        assert_eq!(pool.load(Relaxed), 0);
    }

    #[test]
    fn tables_are_summed() {
        let mut meter = meter(MIB);
        assert!(meter.table_growing(0, TABLE_ELEMENTS, None).is_ok());
        assert!(meter.table_growing(0, 1, None).is_err());
        assert_eq!(meter.refused(), Some(Limit::TableElements));
    }

    #[test]
    fn a_huge_number_does_not_overflow() {
        let mut meter = meter(MIB);
        assert!(meter.memory_growing(0, 1, None).is_ok());
        assert!(meter.memory_growing(0, usize::MAX, None).is_err());
    }
}
