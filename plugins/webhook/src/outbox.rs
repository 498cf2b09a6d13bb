//! What waits to be sent: bounded, in order, in batches of which one at a time is tried until it is through.

use std::collections::VecDeque;
use std::time::Duration;

use wasmtx_plugin::{clock, metrics, random};

/// Of one body, so that services take it.
const BATCH_BYTES: usize = 256 << 10;
/// Of all that wait; below what a snapshot may have.
const QUEUE_BYTES: usize = 768 << 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Events as JSON texts.
pub(crate) struct Outbox {
    waiting: VecDeque<String>,
    /// Sum of their lengths.
    bytes: usize,
    most: usize,
    batch: usize,
    /// What is being sent: so many of the first, under this name. The same until it is through, so that the service can tell what it has already.
    under_way: Option<Batch>,
    failures: u32,
    not_before: Duration,
}

struct Batch {
    name: String,
    count: usize,
}

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Through,
    /// May be better later.
    Failed,
    /// Will never be any better.
    Refused,
}

impl Outbox {
    pub(crate) fn new(most: usize, batch: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            most,
            batch,
            under_way: None,
            failures: 0,
            not_before: Duration::ZERO,
        }
    }

    /// One more. When there is no room the oldest go: what is new matters more.
    pub(crate) fn push(&mut self, event: String) {
        self.bytes += event.len();
        self.waiting.push_back(event);
        while self.waiting.len() > self.most || self.bytes > QUEUE_BYTES {
            self.take(1);
            // What is left of the batch would have another content under the same name.
            self.under_way = None;
            metrics::counter("lost", 1);
        }
        metrics::gauge("waiting", self.waiting.len() as f64);
    }

    pub(crate) fn has_a_batch(&self) -> bool {
        self.waiting.len() >= self.batch
    }

    /// The next batch, its name and body, unless there is nothing or a pause.
    pub(crate) fn next(&mut self) -> Option<(String, String)> {
        if self.waiting.is_empty() || clock::monotonic() < self.not_before {
            return None;
        }
        let batch = self.under_way.get_or_insert_with(|| {
            let mut bytes = 0;
            let fits = self.waiting.iter().take(self.batch).take_while(|event| {
                bytes += event.len();
                bytes <= BATCH_BYTES
            });
            Batch {
                // One that is too large goes alone.
                count: fits.count().max(1),
                name: random::bytes(16).iter().map(|byte| format!("{byte:02x}")).collect(),
            }
        });
        let events: Vec<&str> = self.waiting.iter().take(batch.count).map(String::as_str).collect();
        Some((batch.name.clone(), format!("[{}]", events.join(","))))
    }

    /// What became of the last batch that [`next`](Self::next) gave.
    pub(crate) fn done(&mut self, sent: Sent) {
        match sent {
            Sent::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
                self.failures += 1;
                // Many servers that lost the same service do not come back to it at once.
                let jitter = random::bytes(1).first().map_or(0.5, |byte| f64::from(*byte) / 255.0);
                self.not_before = clock::monotonic() + pause.mul_f64(0.8 + 0.4 * jitter);
                metrics::counter("retries", 1);
            }
            Sent::Through | Sent::Refused => {
                let count = self.under_way.take().map_or(0, |batch| batch.count);
                self.take(count);
                self.failures = 0;
                self.not_before = Duration::ZERO;
                metrics::counter(if sent == Sent::Through { "sent" } else { "refused" }, count as u64);
                metrics::gauge("waiting", self.waiting.len() as f64);
            }
        }
    }

    fn take(&mut self, count: usize) {
        let gone: usize = self
            .waiting
            .drain(..count.min(self.waiting.len()))
            .map(|event| event.len())
            .sum();
        self.bytes -= gone;
    }

    /// All that waits, a line each.
    pub(crate) fn save(&self) -> Vec<u8> {
        let lines: Vec<&str> = self.waiting.iter().map(String::as_str).collect();
        lines.join("\n").into_bytes()
    }

    pub(crate) fn restore(&mut self, saved: &[u8]) {
        for line in String::from_utf8_lossy(saved).lines().filter(|line| !line.is_empty()) {
            self.push(line.to_owned());
        }
    }
}
