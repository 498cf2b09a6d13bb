//! `log`: lines of plugins in the server's log, bounded in length and number.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::State;
use crate::{
    bindings::plugin::log::{Host, Level},
    hits::Limit,
};

impl Host for State {
    fn log(&mut self, level: Level, message: String) {
        if !self.may_log() {
            return;
        }
        let (plugin, path) = (&*self.common.name, self.place.path());
        if message.len() > self.limits.log_line {
            self.place.hits.hit(Limit::LogLine);
        }
        let message = clean(&message, self.limits.log_line);
        match level {
            Level::Trace => tracing::trace!(plugin, path, "{message}"),
            Level::Debug => tracing::debug!(plugin, path, "{message}"),
            Level::Info => tracing::info!(plugin, path, "{message}"),
            Level::Warn => tracing::warn!(plugin, path, "{message}"),
            Level::Error => tracing::error!(plugin, path, "{message}"),
        }
    }
}

impl State {
    /// Takes one line of those that the plugin has in this second, if there is one left.
    pub(super) fn may_log(&self) -> bool {
        let admitted = self.common.lines.admit(&self.common.name, self.limits.log_lines);
        if !admitted {
            self.place.hits.hit(Limit::LogLines);
        }
        admitted
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
    /// Whether one more line of this second passes, of at most `lines`.
    fn admit(&self, plugin: &str, lines: u32) -> bool {
        let (admitted, dropped) = self.0.lock().admit(Instant::now(), lines);
        if dropped > 0 {
            tracing::warn!(plugin, dropped, "the plugin logs too much: lines were dropped");
        }
        admitted
    }
}

impl Window {
    /// Whether this line passes, and how many lines of the window that just ended did not.
    fn admit(&mut self, now: Instant, lines: u32) -> (bool, u64) {
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
        if self.lines < lines {
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
        let passed = (0..80).filter(|_| window.admit(start, 50).0).count();
        assert_eq!(passed, 50);
        assert_eq!(window.admit(start + Duration::from_secs(1), 50), (true, 30));
        assert_eq!(window.admit(start + Duration::from_secs(1), 50), (true, 0));
    }
}
