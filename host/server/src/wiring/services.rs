//! What plugins reach outside, made of what `endpoints` has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtx_endpoints::outbound::{self, Allow};
use wasmtx_sandbox::services::{Http, HttpClient, HttpError, HttpResult, Services};

/// The services of a server.
pub(crate) fn services() -> Services {
    let mut services = Services::default();
    services.http = Arc::new(Outbound);
    services
}

/// A client per plugin: plugins share neither connections nor places.
struct Outbound;

impl Http for Outbound {
    fn client(&self, allowed: &[String]) -> Result<Arc<dyn HttpClient>, String> {
        let allow = Allow::parse(allowed).map_err(|error| format!("grant.http: {error}"))?;
        Ok(Arc::new(Client(outbound::Client::new(
            allow,
            outbound::Limits::default(),
        ))))
    }
}

struct Client(outbound::Client);

impl HttpClient for Client {
    fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> BoxFuture<'_, HttpResult> {
        Box::pin(async move {
            let answer = self.0.send(request, timeout).await;
            answer.map_err(|error| {
                tracing::debug!("a plugin's request: {error}");
                match error {
                    outbound::Error::NotGranted => HttpError::NotGranted,
                    outbound::Error::Refused(_) => HttpError::Refused,
                    outbound::Error::Timeout => HttpError::Timeout,
                    outbound::Error::TooLarge => HttpError::TooLarge,
                    outbound::Error::Tls(_) => HttpError::Tls,
                    _ => HttpError::Other,
                }
            })
        })
    }
}
