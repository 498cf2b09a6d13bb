//! A door in front of a server: open, shut, or shut once so many bytes went in. What it is told to forget it knows
//! nothing of, as a store does after some days; moto would fail instead.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// How soon a shut door is noticed by who stands in it.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    /// Bytes that went in.
    passed: AtomicU64,
    /// Nothing goes in beyond.
    most: AtomicU64,
    /// An upload.
    forgotten: OnceLock<String>,
}

impl State {
    fn is_shut(&self) -> bool {
        self.passed.load(SeqCst) >= self.most.load(SeqCst)
    }
}

pub(super) struct Door {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

impl Door {
    pub(super) fn open_to(server: SocketAddr) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        state.most.store(u64::MAX, SeqCst);
        let shared = state.clone();
        // Both end with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.unwrap(), shared.clone());
                if !state.is_shut() {
                    thread::spawn(move || pass(&client, server, &state));
                }
            }
        });
        Door { address, state }
    }

    pub(super) fn open(&self) {
        self.state.most.store(u64::MAX, SeqCst);
    }

    pub(super) fn shut(&self) {
        self.state.most.store(0, SeqCst);
    }

    /// Shuts it once so many bytes more went in.
    pub(super) fn shut_after(&self, bytes: u64) {
        self.state.most.store(self.passed() + bytes, SeqCst);
    }

    /// The store knows an upload no more.
    pub(super) fn forget(&self, upload: &str) {
        self.state.forgotten.set(format!("uploadId={upload}")).unwrap();
    }

    /// Bytes that went in.
    pub(super) fn passed(&self) -> u64 {
        self.state.passed.load(SeqCst)
    }
}

fn pass(client: &TcpStream, server: SocketAddr, state: &State) {
    let Ok(server) = TcpStream::connect(server) else { return };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&server, client, state, |_| true);
            end(client, &server);
        });
        let asked = |bytes: &[u8]| {
            state.passed.fetch_add(bytes.len() as u64, SeqCst);
            let known = |forgotten: &String| !bytes.windows(forgotten.len()).any(|part| part == forgotten.as_bytes());
            state.forgotten.get().is_none_or(known)
        };
        if let Ok(true) = copy(client, &server, state, asked) {
            let body = "<Error><Code>NoSuchUpload</Code></Error>";
            let length = body.len();
            let head = format!("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let mut answer = client;
            let _ = answer.write_all((head + body).as_bytes());
            // Who is still sending would not hear it otherwise.
            let _ = copy(client, io::sink(), state, |_| true);
        }
        end(client, &server);
    });
}

fn end(one: &TcpStream, other: &TcpStream) {
    let _ = (one.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
}

/// Whether it ended because of something that may not pass.
fn copy(mut from: &TcpStream, mut to: impl Write, state: &State, may: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    from.set_read_timeout(Some(LOOK))?;
    let mut bytes = [0; 64 << 10];
    while !state.is_shut() {
        match from.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(length) if !may(&bytes[..length]) => return Ok(true),
            Ok(length) => to.write_all(&bytes[..length])?,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
