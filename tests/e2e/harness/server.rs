//! The built server as a child process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::{Folder, PATIENCE, Transport, folder, http, tool, until, until_within};

/// A running server in a folder of its own. Ended when dropped; its log is shown when the test failed.
pub(crate) struct Server {
    child: Child,
    folder: Folder,
}

/// How a server came to its end.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    /// Everything that it wrote.
    pub(crate) log: String,
}

const LOG: &str = "log";

/// What holds for every test: nothing but loopback, ports that the system chooses, everything switched on. As environment
/// variables, so that a test's file says only what the test is about.
const COMMON: [(&str, &str); 21] = [
    ("MTX_LOGLEVEL", "debug"),
    ("MTX_API", "yes"),
    ("MTX_APIADDRESS", "127.0.0.1:0"),
    ("MTX_METRICS", "yes"),
    ("MTX_METRICSADDRESS", "127.0.0.1:0"),
    ("MTX_RTSPENCRYPTION", "optional"),
    ("MTX_RTSPADDRESS", "127.0.0.1:0"),
    ("MTX_RTSPSADDRESS", "127.0.0.1:0"),
    ("MTX_RTPADDRESS", "127.0.0.1:0"),
    ("MTX_RTCPADDRESS", "127.0.0.1:0"),
    ("MTX_RTMPENCRYPTION", "optional"),
    ("MTX_RTMPADDRESS", "127.0.0.1:0"),
    ("MTX_RTMPSADDRESS", "127.0.0.1:0"),
    ("MTX_RTMPSERVERKEY", "server.key"),
    ("MTX_RTMPSERVERCERT", "server.crt"),
    ("MTX_RTSPSERVERKEY", "server.key"),
    ("MTX_RTSPSERVERCERT", "server.crt"),
    ("MTX_FLVADDRESS", "127.0.0.1:0"),
    ("MTX_HLSADDRESS", "127.0.0.1:0"),
    ("MTX_HLSSERVERKEY", "server.key"),
    ("MTX_HLSSERVERCERT", "server.crt"),
];

/// A server with this configuration, everything else as it comes.
pub(crate) fn command(folder: &Folder, yaml: &str) -> Command {
    folder.write("mediamtx.yml", yaml);
    let [key, certificate] = identity();
    fs::copy(key, folder.file("server.key")).expect("a key");
    fs::copy(certificate, folder.file("server.crt")).expect("a certificate");
    let mut command = Command::new(binary());
    command
        .arg("mediamtx.yml")
        .current_dir(folder.path())
        .envs(COMMON)
        .stdin(Stdio::null());
    command
}

impl Server {
    /// Starts a server with this mediamtx.yml and waits until it listens.
    #[track_caller]
    pub(crate) fn start(yaml: &str) -> Server {
        Server::start_in(Folder::new(), yaml, &[])
    }

    /// Starts a server in a folder that was prepared for it, with environment variables beside the common ones.
    #[track_caller]
    pub(crate) fn start_in(folder: Folder, yaml: &str, environment: &[(&str, &str)]) -> Server {
        let mut command = command(&folder, yaml);
        command.envs(environment.iter().copied());
        Server::launch(folder, command)
    }

    /// Starts a server by a command made by [`command`] and changed since.
    #[track_caller]
    pub(crate) fn launch(folder: Folder, command: Command) -> Server {
        Server::launch_within(PATIENCE, folder, command)
    }

    /// As [`Server::launch`], for one that has much to compile first.
    #[track_caller]
    pub(crate) fn launch_within(patience: Duration, folder: Folder, mut command: Command) -> Server {
        let log = File::create(folder.file(LOG)).expect("a file for the log");
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().expect("the server starts");
        let mut server = Server { child, folder };
        // The API is the last to listen.
        until_within(patience, "the server listens", || {
            let ended = server.child.try_wait().expect("a child of ours");
            assert_eq!(ended, None, "the server ended:\n{}", server.log());
            server.find_address("metricsAddress")
        });
        server
    }

    /// Where it listens, by the key of mediamtx.yml.
    #[track_caller]
    pub(crate) fn address(&self, key: &str) -> SocketAddr {
        until(key, || self.find_address(key))
    }

    fn find_address(&self, key: &str) -> Option<SocketAddr> {
        let prefix = format!("listening: {key} ");
        let log = self.log();
        // A line that is not whole yet is not looked at.
        let whole = log.rsplit_once('\n')?.0;
        whole
            .lines()
            .find_map(|line| line.split_once(&prefix)?.1.split([' ', '"']).next()?.parse().ok())
    }

    /// The URL of a path.
    #[track_caller]
    pub(crate) fn url(&self, transport: Transport, path: &str) -> String {
        match transport {
            Transport::Tcp | Transport::Udp | Transport::Any => {
                format!("rtsp://{}/{path}", self.address("rtspAddress"))
            }
            Transport::Tls => format!("rtsps://{}/{path}", self.address("rtspsAddress")),
        }
    }

    /// The URL of a path by RTMP.
    #[track_caller]
    pub(crate) fn rtmp(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address("rtmpAddress"))
    }

    /// The URL of a path by RTMP in TLS.
    #[track_caller]
    pub(crate) fn rtmps(&self, path: &str) -> String {
        format!("rtmps://{}/{path}", self.address("rtmpsAddress"))
    }

    /// The URL of a path as FLV over HTTP.
    #[track_caller]
    pub(crate) fn flv(&self, path: &str) -> String {
        format!("http://{}/{path}.flv", self.address("flvAddress"))
    }

    /// Its folder, which is its working directory.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        self.folder.read(LOG)
    }

    /// Waits for a line of the log with all of these words.
    #[track_caller]
    pub(crate) fn logged(&self, words: &[&str]) -> String {
        until(&format!("a log line with {words:?}"), || {
            let log = self.log();
            log.lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned)
        })
    }

    /// What the API answers to a GET, which has to succeed.
    #[track_caller]
    pub(crate) fn api(&self, route: &str) -> Json {
        let (status, body) = self.ask("GET", route);
        assert_eq!(status, 200, "{route}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{route}: {error} in {body}"))
    }

    /// What the API answers.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, route: &str) -> (u16, String) {
        let answer = http::request(method, self.address("apiAddress"), &format!("/v3/{route}"));
        answer.unwrap_or_else(|error| panic!("{route}: {error}"))
    }

    /// What the HTTP server of the API answers to anything.
    pub(crate) fn call(&self, method: &str, route: &str, kind: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        http::send(method, self.address("apiAddress"), route, kind, body)
    }

    /// What the API answers to a POST with a body.
    #[track_caller]
    pub(crate) fn post(&self, route: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let answer = http::send("POST", self.address("apiAddress"), &format!("/v3/{route}"), kind, body);
        answer.unwrap_or_else(|error| panic!("{route}: {error}"))
    }

    /// The page of metrics.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        let answer = http::request("GET", self.address("metricsAddress"), "/metrics");
        let (status, body) = answer.expect("the page of metrics");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The sum of a metric's rows that have these labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let rows = page.lines().filter_map(|line| {
            let (head, value) = line.rsplit_once(' ')?;
            let (found, rest) = head.split_once('{').unwrap_or((head, ""));
            (found == name && labels.iter().all(|label| rest.contains(label))).then(|| value.parse::<f64>().ok())?
        });
        rows.sum()
    }

    /// A path as the API shows it; `None` when there is none.
    #[track_caller]
    pub(crate) fn path(&self, name: &str) -> Option<Json> {
        let (status, body) = self.ask("GET", &format!("paths/get/{name}"));
        (status == 200).then(|| serde_json::from_str(&body).expect("JSON"))
    }

    /// Waits until somebody publishes to a path.
    #[track_caller]
    pub(crate) fn online(&self, name: &str) -> Json {
        until(&format!("{name} is online"), || {
            self.path(name).filter(|path| path["available"] == true)
        })
    }

    /// Waits until nobody publishes to a path any more.
    #[track_caller]
    pub(crate) fn offline(&self, name: &str) {
        until(&format!("{name} is offline"), || {
            self.path(name)
                .is_none_or(|path| path["available"] == false)
                .then_some(())
        });
    }

    /// Waits until a path has so many readers.
    #[track_caller]
    pub(crate) fn readers(&self, name: &str, count: usize) {
        until(&format!("{name} has {count} readers"), || {
            let path = self.path(name)?;
            (path["readers"].as_array()?.len() == count).then_some(())
        });
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("a child of ours");
    }

    /// Asks it to stop, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(mut self, signal: Signal) -> Outcome {
        self.signal(signal);
        let status = until("the server stops", || self.child.try_wait().expect("a child of ours"));
        Outcome {
            status,
            log: self.log(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

/// The server that `make` built, in the folder above the one that tests run from.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let binary = test.ancestors().nth(2).expect("target/debug").join("wasmtx");
    assert!(binary.exists(), "{} is not built; run: make e2e", binary.display());
    binary
}

/// A plugin that `make plugins` built.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the root of the sources");
    let plugin = root.join("target/plugins").join(name).with_extension("wasm");
    assert!(plugin.exists(), "{} is not built; run: make plugins", plugin.display());
    plugin
}

/// The key and the certificate of every server here.
fn identity() -> [&'static Path; 2] {
    static FILES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    FILES
        .get_or_init(|| {
            let [key, certificate] = ["server.key", "server.crt"].map(folder::shared);
            let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost";
            let line = line.split(' ').map(AsRef::<Path>::as_ref);
            let files = [
                "-keyout".as_ref(),
                key.as_path(),
                "-out".as_ref(),
                certificate.as_path(),
            ];
            tool::run("openssl", line.chain(files));
            [key, certificate]
        })
        .each_ref()
        .map(PathBuf::as_path)
}

/// What `sourceFingerprint` takes.
pub(crate) fn fingerprint() -> String {
    let line = ["x509", "-noout", "-fingerprint", "-sha256", "-in"].map(AsRef::<Path>::as_ref);
    let said = tool::run("openssl", line.into_iter().chain([identity()[1]]));
    let said = String::from_utf8_lossy(&said);
    said.trim()
        .rsplit('=')
        .next()
        .expect("a fingerprint")
        .replace(':', "")
        .to_lowercase()
}
