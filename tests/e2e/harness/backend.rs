//! A service that plugins ask over HTTP, answered for by the test.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use serde_json::Value as Json;

/// Listens until the test is over.
pub(crate) struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What answers a route and a JSON body.
type Answer = Box<dyn Fn(&str, &Json) -> Reply + Send + Sync>;

struct Shared {
    /// What was asked, in order.
    asked: Mutex<Vec<Asked>>,
    answer: Answer,
    released: (Mutex<bool>, Condvar),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The body, if it is JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What a request gets.
pub(crate) enum Reply {
    /// A status and a body.
    Now(u16, String),
    /// 200, when the test calls [`Backend::release`].
    Held,
}

impl Backend {
    /// Answers each request, by route and JSON body, as `answer` says.
    pub(crate) fn start(answer: impl Fn(&str, &Json) -> Reply + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            asked: Mutex::default(),
            answer: Box::new(answer),
            released: Default::default(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || while shared.serve(&stream).is_some() {});
            }
        });
        Backend { address, shared }
    }

    /// Answers everything with 200.
    pub(crate) fn agreeing() -> Backend {
        Backend::start(|_, _| Reply::Now(200, String::new()))
    }

    pub(crate) fn url(&self, route: &str) -> String {
        format!("http://{}{route}", self.address)
    }

    /// What plugins need to be granted.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The JSON bodies so far.
    pub(crate) fn asked(&self) -> Vec<Json> {
        self.requests().iter().map(Asked::json).collect()
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    /// Answers those that were held, and holds no more.
    pub(crate) fn release(&self) {
        let (released, changed) = &self.shared.released;
        *released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

impl Shared {
    /// Serves one request; `None` when there are no more.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let route = line.split(' ').nth(1)?.to_owned();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let len = headers.get("content-length").map_or(Some(0), |len| len.parse().ok())?;
        let mut body = vec![0; len];
        reader.read_exact(&mut body).ok()?;
        let asked = Asked { headers, body };
        let reply = (self.answer)(&route, &asked.json());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let (status, body) = match reply {
            Reply::Now(status, body) => (status, body),
            Reply::Held => {
                let (released, changed) = &self.released;
                let released = released.lock().unwrap_or_else(PoisonError::into_inner);
                let released = changed.wait_while(released, |released| !*released);
                drop(released.unwrap_or_else(PoisonError::into_inner));
                (200, String::new())
            }
        };
        let head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).ok()
    }
}
