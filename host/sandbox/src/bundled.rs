//! The plugins that are part of the binary. `make plugins` builds them, `build.rs` finds them and lists them.

use std::{thread, time::Duration};

use crate::Limits;

/// Names and components, in the same order.
const ALL: (&[&str], &[&[u8]]) = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The names of the bundled plugins.
pub const BUNDLED: &[&str] = ALL.0;

/// Those of them that do nothing where nothing can be re-encoded.
pub const TRANSCODING: &[&str] = &["aac"];

/// The one that records. It works for all paths that are recorded, and a share of one core would not do for hundreds of them.
const RECORDER: &str = "recorder";

/// Its calls may take so long each. It is ours, and a machine that has too much to do must not cost a recording its recorder.
const RECORDER_CALL: Duration = Duration::from_secs(1);

/// What a bundled plugin may take where no entry of the configuration says it.
pub(crate) fn limits(name: &str) -> Limits {
    let mut limits = Limits::default();
    if name == RECORDER {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        limits.share = u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(100);
        for call in [&mut limits.open, &mut limits.tick, &mut limits.sink_running] {
            *call = RECORDER_CALL;
        }
    }
    limits
}

/// The component of a bundled plugin.
pub(crate) fn component(name: &str) -> Option<&'static [u8]> {
    let number = BUNDLED.iter().position(|bundled| *bundled == name)?;
    ALL.1.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_records_may_use_every_core_and_the_others_a_half() {
        assert!(limits("aac").share == 50 && limits(RECORDER).share >= 100);
        assert!(component(RECORDER).is_some());
    }

    #[test]
    fn those_that_transcode_are_known() {
        let role = b"wasmtx:plugin/transcoder@0.1.0";
        let transcodes = |name: &&&str| {
            let component = component(name).unwrap();
            component.windows(role.len()).any(|window| window == role)
        };
        let found: Vec<&str> = BUNDLED.iter().filter(transcodes).copied().collect();
        assert_eq!(found, TRANSCODING);
    }
}
