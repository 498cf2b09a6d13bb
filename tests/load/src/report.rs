//! What a run found, as a table or as JSON.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{histogram::Histogram, process::Memory, sequence::Counts, verify::Summary};

const GIGABYTE: f64 = 1e9;

/// What a run found.
pub(crate) struct Report {
    /// Paths that were read.
    pub(crate) paths: u32,
    /// Readers that were wanted.
    pub(crate) readers: u32,
    /// Readers that had at least one frame.
    pub(crate) joined: u32,
    /// How long was measured.
    pub(crate) window: Duration,
    /// Frames sent by all publishers, in and around the window.
    pub(crate) sent: u64,
    /// Bits per second of one publisher; `None` when somebody else publishes.
    pub(crate) bitrate: Option<f64>,
    /// Bytes that readers received in the window.
    pub(crate) bytes: u64,
    /// Frames that readers completed in the window.
    pub(crate) frames: u64,
    /// What became of all frames, in and around the window.
    pub(crate) summary: Summary,
    /// Sent to complete at the reader, in the window.
    pub(crate) latency: Histogram,
    /// Connecting to the first complete frame.
    pub(crate) first_frame: Histogram,
    /// Processor time of this tool in the window.
    pub(crate) own_cpu: Duration,
    /// What the server used, when its process is known.
    pub(crate) server: Option<Server>,
    /// Readers that ended before their time, by reason.
    pub(crate) errors: BTreeMap<String, usize>,
}

/// What the server used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    /// Processor time in the window.
    pub(crate) cpu: Duration,
    /// Before the readers came.
    pub(crate) memory_before: Memory,
    /// At the end of the window.
    pub(crate) memory_after: Memory,
}

impl Report {
    /// Whether every reader got every frame once, in order and as it was sent.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.joined == self.readers && self.summary.is_clean()
    }

    /// Processor time of the server per gigabyte that readers received.
    pub(crate) fn cpu_per_gigabyte(&self) -> Option<Duration> {
        let server = self.server?;
        (self.bytes > 0).then(|| server.cpu.div_f64(self.bytes as f64 / GIGABYTE))
    }

    /// Resident bytes that each reader added.
    pub(crate) fn memory_per_reader(&self) -> Option<f64> {
        let server = self.server?;
        let grown = server.memory_after.rss as f64 - server.memory_before.rss as f64;
        (self.readers > 0).then(|| grown / f64::from(self.readers))
    }

    /// Share of one processor that a time in the window is.
    pub(crate) fn share(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.window.as_secs_f64()
    }

    /// One row per fact.
    pub(crate) fn table(&self) -> String {
        let Summary {
            packets,
            frames,
            damaged,
            unstamped,
            corrupted,
            malformed,
        } = &self.summary;
        let seconds = self.window.as_secs_f64();
        let mut rows = vec![
            (
                "readers",
                format!("{} of {} on {} path(s)", self.joined, self.readers, self.paths),
            ),
            ("window", format!("{seconds:.1} s")),
        ];
        if let Some(bitrate) = self.bitrate {
            rows.push((
                "publishers",
                format!("{:.2} Mb/s each, {} frames sent in all", bitrate / 1e6, self.sent),
            ));
        }
        rows.extend([
            (
                "delivered",
                format!(
                    "{:.1} Mb/s, {:.0} frames/s",
                    self.bytes as f64 * 8e-6 / seconds,
                    self.frames as f64 / seconds
                ),
            ),
            ("frames", counts(frames)),
            ("RTP packets", counts(packets)),
            (
                "bad frames",
                format!(
                    "{damaged} damaged, {corrupted} corrupted, {unstamped} without stamp, {malformed} packets no RTP"
                ),
            ),
            ("latency", quantiles(&self.latency)),
            ("first frame", quantiles(&self.first_frame)),
            (
                "this tool",
                format!("{:.1} % of a core", 100.0 * self.share(self.own_cpu)),
            ),
        ]);
        if let Some(server) = &self.server {
            let Memory { rss, pss } = server.memory_after;
            rows.push(("server", format!("{:.1} % of a core", 100.0 * self.share(server.cpu))));
            rows.push((
                "server memory",
                format!("{} RSS, {} PSS", bytes(rss as f64), bytes(pss as f64)),
            ));
        }
        if let Some(cpu) = self.cpu_per_gigabyte() {
            rows.push(("CPU per GB", format!("{:.3} s", cpu.as_secs_f64())));
        }
        if let Some(memory) = self.memory_per_reader() {
            rows.push(("memory per reader", bytes(memory)));
        }
        rows.extend(
            self.errors
                .iter()
                .map(|(error, count)| ("error", format!("{count} × {error}"))),
        );
        let cells: Vec<_> = rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        columns(&cells)
    }

    /// The same for programs: seconds and bytes.
    pub(crate) fn json(&self) -> Value {
        let Summary {
            packets,
            frames,
            damaged,
            unstamped,
            corrupted,
            malformed,
        } = &self.summary;
        json!({
            "paths": self.paths,
            "readers": self.readers,
            "joined": self.joined,
            "window": self.window.as_secs_f64(),
            "sent": self.sent,
            "bytes": self.bytes,
            "frames_completed": self.frames,
            "frames": counts_json(frames),
            "packets": counts_json(packets),
            "damaged": damaged,
            "corrupted": corrupted,
            "unstamped": unstamped,
            "malformed": malformed,
            "latency": quantiles_json(&self.latency),
            "first_frame": quantiles_json(&self.first_frame),
            "own_cpu": self.own_cpu.as_secs_f64(),
            "server": self.server.map(|server| json!({
                "cpu": server.cpu.as_secs_f64(),
                "rss_before": server.memory_before.rss,
                "rss": server.memory_after.rss,
                "pss": server.memory_after.pss,
            })),
            "cpu_per_gigabyte": self.cpu_per_gigabyte().map(|cpu| cpu.as_secs_f64()),
            "memory_per_reader": self.memory_per_reader(),
            "errors": self.errors,
            "clean": self.is_clean(),
        })
    }
}

fn counts(counts: &Counts) -> String {
    let Counts {
        expected,
        received,
        lost,
        duplicated,
        out_of_order,
    } = counts;
    format!("{received} of {expected}, {lost} lost, {duplicated} duplicated, {out_of_order} out of order")
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "expected": counts.expected,
        "received": counts.received,
        "lost": counts.lost,
        "duplicated": counts.duplicated,
        "out_of_order": counts.out_of_order,
    })
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

fn quantiles(histogram: &Histogram) -> String {
    let Some(max) = histogram.max() else {
        return "none measured".to_owned();
    };
    let mut text = String::new();
    for (name, share) in QUANTILES {
        let _ = write!(text, "{name} {}, ", milliseconds(histogram.quantile(share)));
    }
    text + "max " + &milliseconds(Some(max))
}

fn quantiles_json(histogram: &Histogram) -> Value {
    let seconds = |duration: Option<Duration>| json!(duration.map(|duration| duration.as_secs_f64()));
    let mut object: serde_json::Map<_, _> = QUANTILES
        .iter()
        .map(|(name, share)| ((*name).to_owned(), seconds(histogram.quantile(*share))))
        .collect();
    object.insert("max".to_owned(), seconds(histogram.max()));
    object.insert("count".to_owned(), json!(histogram.count()));
    Value::Object(object)
}

/// A duration in milliseconds, or a dash.
pub(crate) fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or("–".to_owned(), |duration| {
        format!("{:.2} ms", duration.as_secs_f64() * 1e3)
    })
}

/// A number of bytes, possibly negative.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes.abs() {
        small if small < 1024.0 * 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
    }
}

/// Rows of cells under each other, two blanks between columns.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        widths
            .iter_mut()
            .zip(row)
            .for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let mut text = String::new();
    for row in rows {
        let line: String = widths
            .iter()
            .zip(row)
            .map(|(width, cell)| format!("{cell:<width$}  "))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut latency = Histogram::new();
        latency.add(1_500_000);
        let memory = |rss| Memory { rss, pss: rss / 2 };
        let frames = Counts {
            expected: 500,
            received: 500,
            ..Counts::default()
        };
        Report {
            paths: 1,
            readers: 10,
            joined: 10,
            window: Duration::from_secs(10),
            sent: 600,
            bitrate: Some(4e6),
            bytes: 500_000_000,
            frames: 5_000,
            summary: Summary {
                frames,
                ..Summary::default()
            },
            latency,
            first_frame: Histogram::new(),
            own_cpu: Duration::from_secs(1),
            server: Some(Server {
                cpu: Duration::from_secs(2),
                memory_before: memory(20 << 20),
                memory_after: memory((20 << 20) + 81_920),
            }),
            errors: BTreeMap::new(),
        }
    }

    #[test]
    fn costs_are_told_per_gigabyte_and_per_reader() {
        assert_eq!(report().cpu_per_gigabyte(), Some(Duration::from_secs(4)));
        assert_eq!(report().memory_per_reader(), Some(8_192.0));
        assert_eq!(Report { bytes: 0, ..report() }.cpu_per_gigabyte(), None);
        assert_eq!(Report { readers: 0, ..report() }.memory_per_reader(), None);
        assert_eq!(
            Report {
                server: None,
                ..report()
            }
            .cpu_per_gigabyte(),
            None
        );
    }

    #[test]
    fn the_table_names_every_fact_once_in_line() {
        let table = Report {
            errors: BTreeMap::from([("refused".to_owned(), 3)]),
            ..report()
        }
        .table();
        for line in [
            "readers            10 of 10 on 1 path(s)",
            "delivered          400.0 Mb/s, 500 frames/s",
            "frames             500 of 500, 0 lost, 0 duplicated, 0 out of order",
            "latency            p50 1.50 ms, p95 1.50 ms, p99 1.50 ms, max 1.50 ms",
            "first frame        none measured",
            "server             20.0 % of a core",
            "CPU per GB         4.000 s",
            "memory per reader  8.0 KiB",
            "error              3 × refused",
        ] {
            assert!(table.lines().any(|row| row == line), "{line:?} in\n{table}");
        }
    }

    #[test]
    fn json_holds_numbers_in_seconds_and_bytes() {
        let json = report().json();
        assert_eq!(json["latency"]["p99"], json!(0.0015));
        assert_eq!(json["cpu_per_gigabyte"], json!(4.0));
        assert_eq!(json["frames"]["lost"], json!(0));
        assert_eq!(json["first_frame"]["p50"], Value::Null);
        assert_eq!(json["clean"], json!(true));
    }

    #[test]
    fn a_missing_reader_an_error_or_a_lost_frame_is_not_clean() {
        assert!(report().is_clean());
        assert!(!Report { joined: 9, ..report() }.is_clean());
        assert!(
            !Report {
                errors: BTreeMap::from([("gone".to_owned(), 1)]),
                ..report()
            }
            .is_clean()
        );
        let summary = Summary {
            damaged: 1,
            ..Summary::default()
        };
        assert!(!Report { summary, ..report() }.is_clean());
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(columns(&[row(["a", "1"]), row(["µµµ", "22"])]), "a    1\nµµµ  22\n");
    }
}
