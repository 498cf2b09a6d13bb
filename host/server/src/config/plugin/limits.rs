//! `limits:` of a plugin's entry. Every bound that is met is counted in the metrics under its key.

use crate::config::{schema::settings, units::Size};
use std::time::Duration;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

settings! {
    /// How much a plugin may take.
    pub struct Limits {
        /// Memory of one instance; 64M at most.
        "memory" => memory: Size = Size::mebi(64),
        /// Elements of its tables; 20000 at most.
        "tableElements" => table_elements: u32 = 20_000,
        /// Time for one frame.
        "callTimeout" => call_timeout: Duration = millis(2),
        /// Time to be configured, opened or closed.
        "configureTimeout" => configure_timeout: Duration = millis(250),
        /// Time to save its state, and to take it over.
        "stateTimeout" => state_timeout: Duration = millis(10),
        /// Time for one tick.
        "tickTimeout" => tick_timeout: Duration = millis(10),
        /// Time for one decision about a client, waiting included.
        "authTimeout" => auth_timeout: Duration = Duration::from_secs(5),
        /// Guest time for one decision about a client.
        "authBudget" => auth_budget: Duration = millis(50),
        /// Time for one answer of a resolver, waiting included.
        "resolveTimeout" => resolve_timeout: Duration = Duration::from_secs(5),
        /// Guest time for one answer of a resolver.
        "resolveBudget" => resolve_budget: Duration = millis(50),
        /// Time for one event, waiting included.
        "eventTimeout" => event_timeout: Duration = Duration::from_secs(30),
        /// Guest time for one event.
        "eventBudget" => event_budget: Duration = millis(100),
        /// Time for one batch of a sink, waiting included.
        "sinkTimeout" => sink_timeout: Duration = Duration::from_secs(60),
        /// Guest time for one batch of a sink.
        "sinkBudget" => sink_budget: Duration = millis(100),
        /// Instances that decide or resolve at once.
        "instances" => instances: u32 = 8,
        /// Share of one core over all its instances.
        "cpuShare" => cpu_share: f64 = 0.5,
        /// Frames it may emit in one call.
        "framesPerCall" => frames_per_call: u32 = 16,
        /// Frames that a filter may hold back.
        "heldFrames" => held_frames: u32 = 256,
        /// Bytes that a filter may hold back.
        "heldBytes" => held_bytes: Size = Size::mebi(32),
        /// Frames that a sink may keep.
        "sinkHeldFrames" => sink_held_frames: u32 = 4_096,
        /// Bytes that a sink may keep.
        "sinkHeldBytes" => sink_held_bytes: Size = Size::mebi(96),
        /// Bytes of a payload that it makes.
        "payloadSize" => payload_size: Size = Size::mebi(16),
        /// State handed to the next version.
        "snapshot" => snapshot: Size = Size::mebi(1),
        /// What it may hand to the host in one call.
        "hostcallBytes" => hostcall_bytes: Size = Size::mebi(8),
        /// Handles it may own.
        "handles" => handles: u32 = 8_192,
        /// Log lines and own events per second.
        "logLines" => log_lines: u32 = 50,
        /// Bytes of one log line.
        "logLineSize" => log_line_size: Size = Size::kibi(4),
        /// Own series on one path.
        "series" => series: u32 = 64,
        /// Its key-value store; 64M at most.
        "kv" => kv: Size = Size::mebi(1),
        /// Keys in there; 65536 at most.
        "kvKeys" => kv_keys: u32 = 1_024,
        /// Bytes of one value.
        "kvValue" => kv_value: Size = Size::kibi(64),
        /// Requests by HTTP at once.
        "httpRequests" => http_requests: u32 = 8,
        /// Longest time for one of them; one that names no time has three seconds.
        "httpTimeout" => http_timeout: Duration = Duration::from_secs(60),
        /// Bytes of the body of a request, and of an answer.
        "httpBody" => http_body: Size = Size::mebi(1),
        /// Bytes of code of one of its functions.
        "functionSize" => function_size: Size = Size::kibi(128),
        /// Processor time to compile it, in whole seconds.
        "compileTimeout" => compile_timeout: Duration = Duration::from_secs(30),
        /// Memory to compile it.
        "compileMemory" => compile_memory: Size = Size::mebi(2_048),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Settings as _;

    #[test]
    fn every_limit_is_in_the_manual() {
        let manual = include_str!("../../../../../docs/plugins/limits.md");
        for field in Limits::fields() {
            assert!(manual.contains(&format!("`{}`", field.key)), "{}", field.key);
        }
    }
}
