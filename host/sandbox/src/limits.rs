//! Every bound on a guest, and the meter that holds an instance to its memory.
//!
//! What a plugin's entry in mediamtx.yml may change is in [`Limits`]; the rest are constants.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Result, bail};

/// 2^20 bytes.
pub(crate) const MIB: usize = 1 << 20;

/// The largest component file.
pub(crate) const COMPONENT_BYTES: usize = 32 * MIB;
/// Locals of one function: register allocation grows faster than linearly with them.
pub(crate) const FUNCTION_LOCALS: u32 = 2_000;
/// Functions of all modules of a component together: 100,000 empty ones take half a minute to compile.
pub(crate) const FUNCTIONS: u32 = 50_000;
/// Imports of the component itself.
pub(crate) const IMPORTS: u32 = 128;
/// Exports of the component itself.
pub(crate) const EXPORTS: u32 = 64;
/// Components and modules inside one another. Script runtimes nest two or three deep.
pub(crate) const NESTING: usize = 8;

/// Table elements of an instance, all tables together.
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

/// Auth questions that may wait for a free instance; one more is answered "later".
pub(crate) const AUTH_WAITING: usize = 1_024;

/// The bounds that a plugin's entry in mediamtx.yml may change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of linear memory of one instance, all memories together. At most 64 MiB.
    pub memory: usize,
    /// One `filter.frame` call, by the time that it really runs. Every reader of the path waits for it, so keep it short.
    pub frame: Duration,
    /// `configure`, `open` and `close`, each.
    pub open: Duration,
    /// Time that one auth decision may spend running guest code. Waiting in the host does not count.
    pub auth_running: Duration,
    /// Time that one auth decision may take in all.
    pub auth_wall: Duration,
    /// Auth decisions that run at once.
    pub auth_instances: usize,
    /// Share of one core that the plugin's filters may use together, in percent, over one second. Past it, frames go
    /// round the plugin as its failure policy says.
    pub share: u32,
    /// Bytes of code of one function; a compiler takes minutes over a function of half a megabyte.
    pub function: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 64 * MIB,
            frame: Duration::from_millis(2),
            open: Duration::from_millis(250),
            auth_running: Duration::from_millis(50),
            auth_wall: Duration::from_secs(5),
            auth_instances: 8,
            share: 50,
            function: 128 << 10,
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
}

impl Meter {
    pub(crate) fn new(limit: usize) -> Meter {
        Meter {
            limit: limit.min(64 * MIB),
            memory: 0,
            elements: 0,
            refused: false,
        }
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
