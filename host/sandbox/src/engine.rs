//! The one engine and its settings.
//!
//! Only what is used is switched on, and wasmtime is built without the rest: parallel compilation among it, so that
//! compiling keeps to the one thread of `compile.rs` instead of taking all cores from the media.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{
    Error,
    limits::{INSTANCES, MEMORY, MIB, STACK, STACKS, TABLE_ELEMENTS},
    ticker::Ticker,
};

/// The engine with its clock, which ends when this is dropped.
pub(crate) struct Clocked {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
}

impl Clocked {
    pub(crate) fn new() -> Result<Clocked, Error> {
        // Where the pool's address space is refused (`ulimit -v`), instances on demand are slower to make, not to call.
        let engine = Engine::new(&config(true))
            .or_else(|_| Engine::new(&config(false)))
            .map_err(Error::Engine)?;
        let ticker = Ticker::spawn(&engine).map_err(Error::Thread)?;
        Ok(Clocked { engine, ticker })
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

/// The epochs after which a call of at most `time` is late; what happens then is `deadline.rs`. The present epoch is one
/// of them, so a call is late after `time` or up to an epoch before; the grace that follows makes up for it.
pub(crate) fn epochs(time: Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, u64::MAX >> 1)
}

/// For an engine that only compiles. What it makes runs on the other one: where instances live is no matter of code.
pub(crate) fn compiling() -> Config {
    config(false)
}

fn config(pooled: bool) -> Config {
    let mut config = Config::new();
    // Synchronous calls are 3.5 times cheaper without the bookkeeping of component-model async.
    config.concurrency_support(false).epoch_interruption(true);
    // Multi-memory and tail calls stay on: adapters between nested components and QuickJS need them.
    config.wasm_memory64(false).wasm_relaxed_simd(false);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(16));
    config.max_wasm_stack(STACK);
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(INSTANCES)));
    }
    config
}

fn pool(n: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(n)
        .total_memories(2 * n)
        .total_tables(4 * n)
        .total_core_instances(8 * n)
        .total_stacks(STACKS)
        .max_memory_size(MEMORY)
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .max_core_instances_per_component(64)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(MIB)
        .table_keep_resident(64 << 10)
        // Resetting a slot costs 5 µs with the scan and 12.5 without (Linux 6.7 and later have it).
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(64);
    pool
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn what_is_compiled_elsewhere_runs_here() {
        let hash = |config: &Config| {
            let mut hasher = DefaultHasher::new();
            let engine = Engine::new(config).unwrap();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&compiling()), hash(&config(true)));
        assert_ne!(hash(&compiling()), hash(config(true).epoch_interruption(false)));
    }

    #[test]
    fn a_deadline_is_at_least_one_epoch_and_never_overflows() {
        assert_eq!(epochs(Duration::from_millis(2)), 2);
        assert_eq!(epochs(Duration::ZERO), 1);
        assert!(
            epochs(Duration::MAX) < u64::MAX - (1 << 40),
            "no overflow when added to the present epoch"
        );
    }
}
