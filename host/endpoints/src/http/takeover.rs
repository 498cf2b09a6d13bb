//! A handler that takes its connection over: what it sends from then on is its own, no HTTP between it and the socket.
//!
//! For streams without end, which a thousand clients take in the same bytes, and for WebSockets. The handler says what is
//! to be done and never answers; its connection lets go of the socket while that answer is pending.

use std::{convert::Infallible, sync::Arc};

use axum::http::{Response, header};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{PRODUCT, Transport};
use crate::admission::Slot;

/// What is left to do for a connection that was taken over.
pub(super) type Rest = BoxFuture<'static, ()>;

type Then = Box<dyn FnOnce(Taken) -> Rest + Send>;

/// A connection that HTTP has let go of. Nothing of the answer to its last request was written.
pub(crate) struct Taken {
    pub(crate) stream: Transport,
    /// What the client said behind its request.
    pub(crate) early: Bytes,
    /// Its place in the listener's count, to be kept while it lasts.
    pub(crate) slot: Slot,
    /// True once the server stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Takes the connection that a request came by; an extension of every request.
#[derive(Clone, Default)]
pub(crate) struct Takeover(Arc<Wish>);

#[derive(Default)]
struct Wish {
    then: Mutex<Option<Then>>,
    bell: Notify,
}

impl Takeover {
    /// Has the connection handed to `then`, in a task of its own. Does not return: the request is not answered.
    pub(crate) async fn take<F>(&self, then: impl FnOnce(Taken) -> F + Send + 'static) -> Infallible
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *self.0.then.lock() = Some(Box::new(|taken| Box::pin(then(taken))));
        self.0.bell.notify_one();
        std::future::pending().await
    }

    /// Waits until a handler takes the connection. Cancel safe.
    pub(super) async fn wanted(&self) -> Then {
        loop {
            if let Some(then) = self.0.then.lock().take() {
                return then;
            }
            self.0.bell.notified().await;
        }
    }
}

/// The head of an answer, as HTTP would have written it (RFC 9112 section 2.1).
pub(crate) fn spell(answer: &Response<()>) -> Bytes {
    let mut head = BytesMut::new();
    let status = answer.status();
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in std::iter::once((&header::SERVER, &PRODUCT)).chain(answer.headers()) {
        head.put_slice(b"\r\n");
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
    }
    head.put_slice(b"\r\n\r\n");
    head.freeze()
}
