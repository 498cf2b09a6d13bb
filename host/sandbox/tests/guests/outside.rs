//! What surrounds a registry in the tests: a server to ask, and the events that it notes.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::oneshot;
use wasmtx_hub::{Event, Feed};
use wasmtx_media::WallClock;
use wasmtx_sandbox::{
    PluginSpec, Registry, Services,
    services::{Http, HttpBounds, HttpClient, HttpError, HttpResult},
};

/// A server outside that the test answers for: each request waits until the test looks at it.
#[derive(Default)]
pub(crate) struct Backend {
    asked: Mutex<Vec<Asked>>,
}

/// A request that waits for its answer.
pub(crate) struct Asked {
    pub(crate) request: http::Request<Bytes>,
    answer: oneshot::Sender<HttpResult>,
}

impl Asked {
    /// The JSON that was sent.
    pub(crate) fn body(&self) -> Json {
        serde_json::from_slice(self.request.body()).unwrap()
    }

    pub(crate) fn answer(self, status: u16, body: &str) {
        let response = http::Response::builder().status(status);
        // Who asked may have given up.
        let _ = self.answer.send(Ok(response.body(body.to_owned().into()).unwrap()));
    }
}

impl Backend {
    /// What was asked since the last look.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock())
    }

    /// Waits for the next request.
    pub(crate) async fn next(&self) -> Asked {
        loop {
            if let Some(asked) = self.asked.lock().pop() {
                return asked;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl HttpClient for Backend {
    fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> BoxFuture<'_, HttpResult> {
        let (answer, answered) = oneshot::channel();
        self.asked.lock().push(Asked { request, answer });
        Box::pin(async move {
            let answered = tokio::time::timeout(timeout, answered).await;
            answered
                .map_err(|_| HttpError::Timeout)?
                .map_err(|_| HttpError::Other)?
        })
    }
}

struct Clients(Arc<Backend>);

impl Http for Clients {
    fn client(&self, _allowed: &[String], _bounds: HttpBounds) -> Result<Arc<dyn HttpClient>, String> {
        Ok(self.0.clone())
    }
}

/// What surrounds a registry: a server to ask, and the events that it notes.
pub(crate) fn surroundings() -> (Services, Arc<Backend>, Feed) {
    let backend = Arc::new(Backend::default());
    let mut services = Services::default();
    services.http = Arc::new(Clients(backend.clone()));
    let feed = services.events.listen(|| WallClock(7)).unwrap();
    (services, backend, feed)
}

/// A registry in these surroundings, with compiled code that all tests share.
pub(crate) fn registry_in(services: Services, specs: Vec<PluginSpec>) -> Registry {
    Registry::new(Some(Path::new(env!("CARGO_TARGET_TMPDIR"))), services, specs).unwrap()
}

/// Lets a plugin ask every server.
pub(crate) fn asking(mut spec: PluginSpec) -> PluginSpec {
    spec.grants.http = vec!["anything".to_owned()];
    spec
}

/// The next thing that plugins raised or that became of them: its kind and what it says.
pub(crate) async fn noted(feed: &mut Feed) -> (String, String) {
    loop {
        match feed.next().await.event {
            Event::Other { kind, json, .. } => return (kind, json),
            Event::PluginFailed { plugin, .. } => return ("plugin-failed".to_owned(), plugin),
            _ => {}
        }
    }
}
