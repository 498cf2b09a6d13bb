//! How often a plugin ran into each of its bounds.
//!
//! A bound that is hit has the name of the key of mediamtx.yml that changes it, so that whoever sees the counter grow knows
//! what to write.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{component::Role, metrics::count};

macro_rules! limits {
    ($($(#[$about:meta])* $limit:ident = $key:literal,)*) => {
        /// A bound that a guest can run into while it runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Limit { $($(#[$about])* $limit,)* }

        /// What each is called, in order.
        const KEYS: &[&str] = &[$($key),*];
    };
}

limits! {
    /// Linear memory of one instance.
    Memory = "memory",
    /// Linear memory of all instances of a pool.
    PoolMemory = "poolMemory",
    /// Elements of its tables.
    TableElements = "tableElements",
    /// Recursion. The same for all plugins.
    Stack = "stack",
    /// Instances of the whole server. The same for all plugins.
    Instances = "serverInstances",
    /// One `filter.frame`.
    Call = "callTimeout",
    /// `configure`, `open`, `close`.
    Configure = "configureTimeout",
    /// `save` and `restore`.
    State = "stateTimeout",
    /// `tick`.
    Tick = "tickTimeout",
    /// Guest time of one decision.
    AuthBudget = "authBudget",
    /// One decision, waiting included.
    AuthTimeout = "authTimeout",
    /// Guest time of one answer.
    ResolveBudget = "resolveBudget",
    /// One answer, waiting included.
    ResolveTimeout = "resolveTimeout",
    /// Guest time of one event.
    EventBudget = "eventBudget",
    /// One event, waiting included.
    EventTimeout = "eventTimeout",
    /// Guest time of one batch of a sink.
    SinkBudget = "sinkBudget",
    /// One batch of a sink, waiting included.
    SinkTimeout = "sinkTimeout",
    /// Share of a core.
    Share = "cpuShare",
    /// Frames held by a filter.
    HeldFrames = "heldFrames",
    /// Their bytes.
    HeldBytes = "heldBytes",
    /// Frames kept by a sink.
    SinkHeldFrames = "sinkHeldFrames",
    /// Their bytes.
    SinkHeldBytes = "sinkHeldBytes",
    /// Frames emitted in one call.
    Emits = "framesPerCall",
    /// A payload made by a guest.
    Payload = "payloadSize",
    /// State at a hot swap.
    Snapshot = "snapshot",
    /// Bytes handed to the host in one call.
    Hostcall = "hostcallBytes",
    /// Resource handles.
    Handles = "handles",
    /// Lines in the log.
    LogLines = "logLines",
    /// Bytes of one of them.
    LogLine = "logLineSize",
    /// Own series.
    Series = "series",
    /// Bytes of the key-value store.
    Kv = "kv",
    /// Its keys.
    KvKeys = "kvKeys",
    /// Bytes of one value.
    KvValue = "kvValue",
    /// Bytes of a request's or an answer's body.
    HttpBody = "httpBody",
    /// One request, waiting for its turn included.
    HttpTimeout = "httpTimeout",
}

impl Limit {
    /// What changes it.
    pub(crate) fn key(self) -> &'static str {
        KEYS[self as usize]
    }

    /// Of the guest's own time in a call of this role.
    pub(crate) fn running(role: Role) -> Limit {
        match role {
            Role::Auth => Limit::AuthBudget,
            Role::Resolver => Limit::ResolveBudget,
            Role::Events => Limit::EventBudget,
            Role::Sink => Limit::SinkBudget,
            Role::Filter | Role::Transcoder => Limit::Call,
        }
    }

    /// Of the time that a call of this role may last.
    pub(crate) fn lasting(role: Role) -> Limit {
        match role {
            Role::Auth => Limit::AuthTimeout,
            Role::Resolver => Limit::ResolveTimeout,
            Role::Events => Limit::EventTimeout,
            Role::Sink => Limit::SinkTimeout,
            Role::Filter | Role::Transcoder => Limit::Call,
        }
    }
}

/// Why a guest does not get what it asked for.
#[derive(Debug)]
pub(crate) enum Refusal<E> {
    /// It asked wrongly.
    Error(E),
    /// It asked for too much.
    Limit(Limit),
}

impl<E> From<E> for Refusal<E> {
    fn from(error: E) -> Refusal<E> {
        Refusal::Error(error)
    }
}

/// A counter per bound.
pub(crate) struct Hits([AtomicU64; KEYS.len()]);

impl Default for Hits {
    fn default() -> Hits {
        Hits([const { AtomicU64::new(0) }; KEYS.len()])
    }
}

impl Hits {
    pub(crate) fn hit(&self, limit: Limit) {
        count(&self.0[limit as usize]);
    }

    /// Those that were hit, by the name of their key.
    pub(crate) fn seen(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        let named = KEYS.iter().copied().zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hit_has_the_name_of_its_key() {
        let hits = Hits::default();
        assert_eq!(hits.seen(), []);
        hits.hit(Limit::HttpTimeout);
        hits.hit(Limit::HeldFrames);
        hits.hit(Limit::HeldFrames);
        assert_eq!(hits.seen(), [("heldFrames", 2), ("httpTimeout", 1)]);
    }

    #[test]
    fn every_bound_is_in_the_manual() {
        let manual = include_str!("../../../docs/plugins/limits.md");
        for key in KEYS {
            assert!(manual.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn no_two_bounds_share_a_name() {
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), KEYS.len());
    }
}
