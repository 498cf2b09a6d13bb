//! What a process uses, from `/proc`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    proc: PathBuf,
}

/// Resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes resident, shared pages included.
    pub(crate) rss: u64,
    /// Bytes resident, shared pages divided among those who share them.
    pub(crate) pss: u64,
}

impl Process {
    /// By its id.
    pub(crate) fn new(pid: u32) -> Process {
        Process {
            proc: PathBuf::from(format!("/proc/{pid}")),
        }
    }

    /// This process.
    pub(crate) fn own() -> Process {
        Process::new(std::process::id())
    }

    /// Time that its living threads spent on a processor, to the nanosecond (`stat` counts in hundredths of a second,
    /// too coarse for one reader).
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        let tasks = self.proc.join("task");
        for task in fs::read_dir(&tasks).with_context(|| format!("no process at {}", self.proc.display()))? {
            // A thread that ends meanwhile has no file any more.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            nanos += text
                .split(' ')
                .next()
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its resident memory now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let file = self.proc.join("smaps_rollup");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(Memory {
            rss: kilobytes(&text, "Rss:") << 10,
            pss: kilobytes(&text, "Pss:") << 10,
        })
    }
}

fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Raises the limit on open files as far as this process may, and answers it.
pub(crate) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let reached = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    reached.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let memory = Process::own().memory().unwrap();
        assert!(memory.rss > 0 && memory.pss > 0 && memory.pss <= memory.rss);
        assert!(Process::own().cpu().unwrap() > Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Process::new(u32::MAX).cpu().is_err());
        assert!(Process::new(u32::MAX).memory().is_err());
    }

    #[test]
    fn memory_lines_are_read_by_their_key() {
        let text = "Rss:                3916 kB\nPss:                 819 kB\nPss_Dirty:           593 kB\n";
        assert_eq!(
            (
                kilobytes(text, "Rss:"),
                kilobytes(text, "Pss:"),
                kilobytes(text, "Swap:")
            ),
            (3916, 819, 0)
        );
    }
}
