//! What a command prints, as lines of the log: bounded in length and number, whatever the command does.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

/// Bytes of one line; the rest of a longer one is left out.
const MAX_LINE: usize = 1_024;
/// Lines of one stream in each [`WINDOW`]; the rest is counted.
const MAX_LINES: u32 = 100;
/// The span in which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Reads a command's output to its end and hands each line to `log`. Reads on when there is too much, so that the
/// command never blocks on a full pipe.
pub(super) async fn follow(mut output: impl AsyncRead + Unpin, mut log: impl FnMut(&str)) {
    let mut lines = Lines::new();
    let mut chunk = [0; 4_096];
    loop {
        match output.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(len) => lines.push(Instant::now(), &chunk[..len], &mut log),
        }
    }
    lines.end(&mut log);
}

struct Lines {
    line: Vec<u8>,
    window: Option<Instant>,
    shown: u32,
    left_out: u64,
}

impl Lines {
    fn new() -> Lines {
        Lines {
            line: Vec::with_capacity(MAX_LINE),
            window: None,
            shown: 0,
            left_out: 0,
        }
    }

    fn push(&mut self, now: Instant, bytes: &[u8], log: &mut impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                // Progress bars return the carriage.
                b'\n' | b'\r' => self.flush(now, log),
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn flush(&mut self, now: Instant, log: &mut impl FnMut(&str)) {
        if self.line.is_empty() {
            return;
        }
        if self
            .window
            .is_none_or(|start| now.saturating_duration_since(start) >= WINDOW)
        {
            self.window = Some(now);
            self.shown = 0;
            self.tell_left_out(log);
        }
        if self.shown < MAX_LINES {
            self.shown += 1;
            log(&text(&self.line));
        } else {
            self.left_out += 1;
        }
        self.line.clear();
    }

    fn end(&mut self, log: &mut impl FnMut(&str)) {
        self.tell_left_out(log);
        if !self.line.is_empty() {
            log(&text(&self.line));
        }
    }

    fn tell_left_out(&mut self, log: &mut impl FnMut(&str)) {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            count => log(&format!("({count} lines left out)")),
        }
    }
}

/// The line without what could steer a terminal.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Vec<String> {
        let (mut seen, mut lines) = (Vec::new(), Lines::new());
        let mut log = |line: &str| seen.push(line.to_owned());
        lines.push(Instant::now(), bytes, &mut log);
        lines.end(&mut log);
        seen
    }

    #[test]
    fn output_is_cut_into_lines_without_empty_ones() {
        assert_eq!(check(b"a\n\r\nb\rc"), ["a", "b", "c"]);
        assert_eq!(check(b""), [""; 0]);
    }

    #[test]
    fn escape_sequences_and_broken_text_do_no_harm() {
        assert_eq!(check(b"\x1b[31mred\x07\n\xff\n"), ["[31mred", "\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(check(&[b'x'; 10 * MAX_LINE])[0].len(), MAX_LINE);
    }

    #[test]
    fn a_flood_is_counted_instead_of_shown() {
        let lines = check("y\n".repeat(1_000).as_bytes());
        assert_eq!(lines.len(), MAX_LINES as usize + 1);
        assert_eq!(lines.last().unwrap(), "(900 lines left out)");
    }

    #[test]
    fn after_the_window_lines_are_shown_again() {
        let (mut seen, mut lines) = (Vec::new(), Lines::new());
        let start = Instant::now();
        let mut log = |line: &str| seen.push(line.to_owned());
        lines.push(start, "y\n".repeat(101).as_bytes(), &mut log);
        lines.push(start + WINDOW, b"z\n", &mut log);
        assert_eq!(seen[100..], ["(1 lines left out)", "z"]);
    }
}
