//! The programs that are measured: started for one run, told apart by their output, ended with it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::relay::Unit;

/// A program that does not listen by then is given up.
const START_TIME: Duration = Duration::from_secs(30);
/// How often a port is tried whose program does not say when it listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where it listens, in the order that was asked for.
    pub(crate) addresses: Vec<SocketAddr>,
    /// From its start until it listened.
    pub(crate) start: Duration,
}

impl Running {
    /// A relay of this program.
    pub(crate) fn relay(unit: Unit) -> Result<Running> {
        let mut command = Command::new(std::env::current_exe()?);
        match unit {
            Unit::Frame => command.arg("relay"),
            Unit::Merged(window) => command.args(["relay", "--merge", &window.as_millis().to_string()]),
            Unit::Packet => command.arg("packet-relay"),
        };
        Running::start(command, vec!["listening on ".to_owned()])
    }

    /// The server, with a configuration that lets the system choose the ports of these keys.
    pub(crate) fn server(program: &Path, config: &Path, keys: &[&str]) -> Result<Running> {
        let mut command = Command::new(program);
        command.arg(config);
        let marks = keys.iter().map(|key| format!("listening: {key} ")).collect();
        Running::start(command, marks)
    }

    /// nginx with its RTMP module, as one process, serving the application `live`.
    pub(crate) fn nginx(scratch: &Scratch) -> Result<Running> {
        let begin = Instant::now();
        // It does not say which port the system chose, so one is chosen that was free just now.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = scratch.write("nginx.conf", &nginx_config(address))?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(scratch.path())
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx cannot be started")?;
        let mut running = Running {
            child,
            addresses: vec![address],
            start: Duration::ZERO,
        };
        while TcpStream::connect(address).is_err() {
            let ended = running.child.try_wait()?;
            ensure!(
                ended.is_none(),
                "nginx ended; `scripts/setup bench` installs what it needs"
            );
            ensure!(begin.elapsed() < START_TIME, "nginx does not listen");
            thread::sleep(LOOK_INTERVAL);
        }
        running.start = begin.elapsed();
        Ok(running)
    }

    /// Starts a program that prints each mark and an address behind it.
    fn start(mut command: Command, marks: Vec<String>) -> Result<Running> {
        let begin = Instant::now();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let output = BufReader::new(child.stdout.take().context("the output was asked for")?);
        let (found, addresses) = mpsc::channel();
        let count = marks.len();
        thread::spawn(move || {
            // Read to the end, lest the program waits for somebody to read what it logs.
            for line in output.lines().map_while(Result::ok) {
                for (place, mark) in marks.iter().enumerate() {
                    if let Some(address) = address_in(&line, mark) {
                        let _ = found.send((place, address));
                    }
                }
            }
        });
        let mut places = BTreeMap::new();
        while places.len() < count {
            let Ok((place, address)) = addresses.recv_timeout(START_TIME) else {
                let _ = child.kill();
                let status = child.wait()?;
                bail!("{program} did not say where it listens ({status})");
            };
            places.insert(place, address);
        }
        Ok(Running {
            child,
            addresses: places.into_values().collect(),
            start: begin.elapsed(),
        })
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

/// Everything in the working directory that `-p` names.
fn nginx_config(address: SocketAddr) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
rtmp {{ server {{ listen {address}; application live {{ live on; }} }} }}
"
    )
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
        let error = Running::start(command, vec!["listening on ".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("did not say where it listens"), "{error}");
    }

    #[test]
    fn a_program_is_known_by_its_address() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo listening on 127.0.0.1:7; exec sleep 60"]);
        let running = Running::start(command, vec!["listening on ".to_owned()]).unwrap();
        assert_eq!(running.addresses, ["127.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn several_addresses_come_in_the_order_that_was_asked_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo b 127.0.0.1:2; echo a 127.0.0.1:1; exec sleep 60"]);
        let running = Running::start(command, vec!["a ".to_owned(), "b ".to_owned()]).unwrap();
        let ports: Vec<u16> = running.addresses.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 2]);
    }
}
