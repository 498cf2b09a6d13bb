//! The programs that are measured: started for one run, told apart by their output, ended with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::relay::Unit;

/// A program that does not listen by then is given up.
const START_TIME: Duration = Duration::from_secs(30);

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until it listened.
    pub(crate) start: Duration,
}

impl Running {
    /// A relay of this program.
    pub(crate) fn relay(unit: Unit) -> Result<Running> {
        let name = match unit {
            Unit::Frame => "relay",
            Unit::Packet => "packet-relay",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name);
        Running::start(command, "listening on ")
    }

    /// The server, with a configuration that lets the system choose the port.
    pub(crate) fn server(program: &Path, config: &Path) -> Result<Running> {
        let mut command = Command::new(program);
        command.arg(config);
        Running::start(command, "listening: rtspAddress ")
    }

    /// Starts a program that prints `mark` and its address.
    fn start(mut command: Command, mark: &'static str) -> Result<Running> {
        let begin = Instant::now();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let output = BufReader::new(child.stdout.take().context("the output was asked for")?);
        let (found, address) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end, lest the program waits for somebody to read what it logs.
            for line in output.lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line, mark) {
                    let _ = found.send((address, begin.elapsed()));
                }
            }
        });
        match address.recv_timeout(START_TIME) {
            Ok((address, start)) => Ok(Running { child, address, start }),
            Err(_) => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(anyhow::anyhow!("{program} did not say where it listens ({status})"))
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str, mark: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(mark)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A directory for configurations and state that is gone with the run.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty directory.
    pub(crate) fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("wasmtx-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Scratch(path))
    }

    /// A file in it.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_behind_its_mark() {
        let line = "2026/11/22 15:43:48 INF listening: rtspAddress 127.0.0.1:18554";
        let address = "127.0.0.1:18554".parse().ok();
        assert_eq!(address_in(line, "listening: rtspAddress "), address);
        assert_eq!(
            address_in("listening on 127.0.0.1:18554 (tcp)", "listening on "),
            address
        );
        assert_eq!(
            address_in("listening: apiAddress 127.0.0.1:9997", "listening: rtspAddress "),
            None
        );
        assert_eq!(address_in("listening on a pipe", "listening on "), None);
    }

    #[test]
    fn a_program_that_never_listens_is_an_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; exit 3"]);
        let error = Running::start(command, "listening on ").unwrap_err().to_string();
        assert!(error.contains("did not say where it listens"), "{error}");
    }

    #[test]
    fn a_program_is_known_by_its_address() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo listening on 127.0.0.1:7; exec sleep 60"]);
        let running = Running::start(command, "listening on ").unwrap();
        assert_eq!(running.address, "127.0.0.1:7".parse().unwrap());
    }
}
