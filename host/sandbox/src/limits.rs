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

/// Table elements of an instance, all tables together: what the pool has for each.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// The stack of a guest; deeper recursion is a trap.
pub(crate) const STACK: usize = 512 << 10;
/// Instances alive at once in the whole server.
pub(crate) const INSTANCES: u32 = 4_096;
/// What a guest may hand to the host in one call.
pub(crate) const HOSTCALL_BYTES: usize = 8 * MIB;
/// Resource handles that a guest may own.
pub(crate) const HANDLES: usize = 1_024;

/// Frames that a filter may hold.
pub(crate) const HELD_FRAMES: usize = 256;
/// Their bytes.
pub(crate) const HELD_BYTES: usize = 32 * MIB;
/// Frames that a filter may emit in one call; when the stream ends, as many as it may hold.
pub(crate) const EMITS: usize = 16;
/// Frames that one frame may become on its way through a whole chain.
pub(crate) const CHAIN_EMITS: usize = 256;
/// The largest payload that a filter may make.
pub(crate) const PAYLOAD_BYTES: usize = 16 * MIB;
/// Plugins in the list of one path.
pub(crate) const CHAIN_LENGTH: usize = 32;

/// `save` and `restore`, each: both stand between two frames.
pub(crate) const STATE_CALL: Duration = Duration::from_millis(10);
/// `lifecycle.tick`.
pub(crate) const TICK_CALL: Duration = Duration::from_millis(10);
/// The largest state handed over at a hot swap.
pub(crate) const SNAPSHOT_BYTES: usize = MIB;

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
pub(crate) const STACKS: u32 = 1_024;

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
    /// Instances that decide or resolve at once. Those that wait for an answer from outside do not count.
    pub instances: usize,
    /// Share of one core that the plugin's filters may use together, in percent, over one second. Past it, frames go
    /// round the plugin as its failure policy says.
    pub share: u32,
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
            memory: 64 * MIB,
            table: TABLE_ELEMENTS,
            frame: Duration::from_millis(2),
            open: Duration::from_millis(250),
            auth_running: Duration::from_millis(50),
            auth_wall: Duration::from_secs(5),
            resolve_running: Duration::from_millis(50),
            resolve_wall: Duration::from_secs(5),
            event_running: Duration::from_millis(100),
            event_wall: Duration::from_secs(30),
            instances: 8,
            share: 50,
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
    elements: usize,
    refused: bool,
    /// Memory of all instances of a pool, this one's included.
    pool: Option<Arc<AtomicUsize>>,
}

impl Meter {
    pub(crate) fn new(limit: usize) -> Meter {
        Meter {
            limit: limit.min(64 * MIB),
            memory: 0,
            elements: 0,
            refused: false,
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

    /// Whether a growth was refused; the guest's own error afterwards is only an `unreachable`.
    pub(crate) fn refused(&self) -> bool {
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
            self.refused = true;
            // A trap with a reason, instead of a failed growth that the guest turns into one without.
            bail!(
                "the instance would need {total} bytes of memory, its limit is {}",
                self.limit
            );
        }
        if !self.take(total.saturating_sub(self.memory)) {
            self.refused = true;
            bail!("the plugin's instances would need more than {POOL_MEMORY} bytes of memory together");
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.elements.saturating_sub(current).saturating_add(desired);
        if total > TABLE_ELEMENTS {
            self.refused = true;
            bail!("the instance would need {total} table elements, its limit is {TABLE_ELEMENTS}");
        }
        self.elements = total;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed() {
        let mut meter = Meter::new(3 * MIB);
        assert!(meter.memory_growing(0, 2 * MIB, None).is_ok());
        assert!(meter.memory_growing(0, MIB, None).is_ok());
        assert_eq!(meter.memory(), 3 * MIB);
        assert!(meter.memory_growing(MIB, 2 * MIB, None).is_err());
        assert!(meter.refused());
        assert_eq!(meter.memory(), 3 * MIB);
    }

    #[test]
    fn the_instances_of_a_pool_share_its_memory_and_give_it_back() {
        let pool = Arc::new(AtomicUsize::new(0));
        let full = || {
            let mut meter = Meter::new(64 * MIB);
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
        let mut meter = Meter::new(MIB);
        assert!(meter.table_growing(0, TABLE_ELEMENTS, None).is_ok());
        assert!(meter.table_growing(0, 1, None).is_err());
    }

    #[test]
    fn a_huge_number_does_not_overflow() {
        let mut meter = Meter::new(MIB);
        assert!(meter.memory_growing(0, 1, None).is_ok());
        assert!(meter.memory_growing(0, usize::MAX, None).is_err());
    }
}
