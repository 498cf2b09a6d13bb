//! The bounds of a plugin, as the sandbox takes them.

use wasmtx_sandbox::Limits;

use crate::config::plugin;

pub(super) fn limits(set: &plugin::Limits) -> Limits {
    let mut limits = Limits::default();
    limits.memory = set.memory.as_usize();
    limits.table = count(set.table_elements);
    limits.frame = set.call_timeout;
    limits.open = set.configure_timeout;
    limits.state = set.state_timeout;
    limits.tick = set.tick_timeout;
    limits.auth_wall = set.auth_timeout;
    limits.auth_running = set.auth_budget;
    limits.resolve_wall = set.resolve_timeout;
    limits.resolve_running = set.resolve_budget;
    limits.event_wall = set.event_timeout;
    limits.event_running = set.event_budget;
    limits.sink_wall = set.sink_timeout;
    limits.sink_running = set.sink_budget;
    limits.instances = count(set.instances);
    limits.share = percent(set.cpu_share);
    limits.emits = count(set.frames_per_call);
    limits.held_frames = count(set.held_frames);
    limits.held_bytes = set.held_bytes.as_usize();
    limits.sink_held_frames = count(set.sink_held_frames);
    limits.sink_held_bytes = set.sink_held_bytes.as_usize();
    limits.payload = set.payload_size.as_usize();
    limits.snapshot = set.snapshot.as_usize();
    limits.hostcall = set.hostcall_bytes.as_usize();
    limits.handles = count(set.handles);
    limits.log_lines = set.log_lines;
    limits.log_line = set.log_line_size.as_usize();
    limits.series = count(set.series);
    limits.kv = set.kv.as_usize();
    limits.kv_keys = count(set.kv_keys);
    limits.kv_value = set.kv_value.as_usize();
    limits.http_requests = count(set.http_requests);
    limits.http_timeout = set.http_timeout;
    limits.http_body = set.http_body.as_usize();
    limits.function = set.function_size.as_usize();
    limits.compile = set.compile_timeout;
    limits.compile_memory = set.compile_memory.as_usize();
    limits
}

fn count(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A share of a core in percent, at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn percent(share: f64) -> u32 {
    (share * 100.0).clamp(1.0, 6_400.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_what_the_sandbox_takes_for_usual() {
        assert_eq!(limits(&plugin::Limits::default()), Limits::default());
    }

    #[test]
    fn a_share_of_a_core_is_in_percent_and_never_nothing() {
        assert_eq!([percent(0.5), percent(0.000_1), percent(1e9)], [50, 1, 6_400]);
    }
}
