//! `log`: lines of plugins in the server's log, bounded in length and number.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::State;
use crate::bindings::plugin::log::{Host, Level};

/// Bytes of one line; the rest is cut.
const LINE_LEN: usize = 4 << 10;
/// Lines of one plugin in one second.
const LINES: u32 = 50;

impl Host for State {
    fn log(&mut self, level: Level, message: String) {
        let (plugin, path) = (&*self.common.name, self.place.path());
        if !self.common.lines.admit(plugin) {
            return;
        }
        let message = clean(&message, LINE_LEN);
        match level {
            Level::Trace => tracing::trace!(plugin, path, "{message}"),
            Level::Debug => tracing::debug!(plugin, path, "{message}"),
            Level::Info => tracing::info!(plugin, path, "{message}"),
            Level::Warn => tracing::warn!(plugin, path, "{message}"),
            Level::Error => tracing::error!(plugin, path, "{message}"),
        }
    }
}

/// Text of a guest, fit for a log or a terminal: no control characters, at most `len` bytes.
pub(crate) fn clean(text: &str, len: usize) -> String {
    let mut out = String::with_capacity(text.len().min(len));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if out.len() + c.len_utf8() > len {
            break;
        }
        out.push(c);
    }
    out
}

/// Lets a bounded number of lines per second through and says how many it kept back.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Window>);

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    dropped: u64,
}

impl Throttle {
    pub(crate) fn admit(&self, plugin: &str) -> bool {
        let (admitted, dropped) = self.0.lock().admit(Instant::now());
        if dropped > 0 {
            tracing::warn!(plugin, dropped, "the plugin logs too much: lines were dropped");
        }
        admitted
    }
}

impl Window {
    /// Whether this line passes, and how many lines of the window that just ended did not.
    fn admit(&mut self, now: Instant) -> (bool, u64) {
        let mut dropped = 0;
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1))
        {
            dropped = self.dropped;
            *self = Window {
                since: Some(now),
                ..Window::default()
            };
        }
        if self.lines < LINES {
            self.lines += 1;
            (true, dropped)
        } else {
            self.dropped += 1;
            (false, dropped)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_overlong_text_do_not_reach_the_log() {
        assert_eq!(clean("a\n\x1b[31mb\u{9b}", 100), "a  [31mb ");
        assert_eq!(clean("äää", 5), "ää");
    }

    #[test]
    fn fifty_lines_a_second_pass_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut window = Window::default();
        let passed = (0..80).filter(|_| window.admit(start).0).count();
        assert_eq!(passed, 50);
        assert_eq!(window.admit(start + Duration::from_secs(1)), (true, 30));
        assert_eq!(window.admit(start + Duration::from_secs(1)), (true, 0));
    }
}
