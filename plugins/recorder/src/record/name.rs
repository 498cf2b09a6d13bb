//! Names of files: what the template says, and no name twice.

use super::{Server, Settings, Trouble};

/// How far a name is moved when there is a file of that name: by what the template shows. Microseconds, seconds, minutes, hours, days.
const STEPS: [u64; 5] = [1, 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000];
/// How often, of each step.
const TRIES: u64 = 64;

/// A name for a file that begins at `start`.
pub(super) fn free<S: Server>(server: &S, settings: &Settings, path: &str, start: u64) -> Result<String, Trouble> {
    let name = |time: u64| {
        let stem = settings.template.expand(path, time, server.offset(time));
        format!("{stem}.{}", settings.format.extension())
    };
    let mut tried = name(start);
    if server.is_free(&tried)? {
        return Ok(tried);
    }
    for step in STEPS {
        for count in 1..=TRIES {
            let next = name(start.saturating_add(step.saturating_mul(count)));
            if next == tried {
                // The template does not show steps so small.
                break;
            }
            tried = next;
            if server.is_free(&tried)? {
                return Ok(tried);
            }
        }
    }
    Err(Trouble::Io)
}
