//! What plugins reach outside, made of what `endpoints` has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtx_endpoints::{
    codec::{Options, Workers},
    outbound::{self, Allow},
    storage::Directories,
};
use wasmtx_media::WallClock;
use wasmtx_sandbox::services::{Clock, Http, HttpBounds, HttpClient, HttpError, HttpResult, Services};

use super::{codecs::codecs, files::Files};
use crate::config::Global;

/// The services of a server that need nothing but the machine.
pub(crate) fn services() -> Services {
    let directories = Directories::new(Global::default().state_directory);
    services_with(&Workers::new(Options::default()), Arc::new(directories))
}

/// The same, with workers and directories that somebody else sees, too.
pub(crate) fn services_with(workers: &Workers, directories: Arc<Directories>) -> Services {
    let mut services = Services::default();
    services.http = Arc::new(Outbound);
    services.storage = Arc::new(Files(directories));
    services.clock = Arc::new(Zone);
    services.codecs = codecs(workers);
    services
}

/// The time zone of the machine, or of the variable `TZ`.
struct Zone;

impl Clock for Zone {
    fn offset(&self, at: WallClock) -> i32 {
        let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
        // Nobody has rules for the time after the year 9999.
        let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        jiff::tz::TimeZone::system().to_offset(at).seconds()
    }
}

/// A client per plugin: plugins share neither connections nor places.
struct Outbound;

impl Http for Outbound {
    fn client(&self, allowed: &[String], bounds: HttpBounds) -> Result<Arc<dyn HttpClient>, String> {
        let allow = Allow::parse(allowed).map_err(|error| format!("grant.http: {error}"))?;
        let mut limits = outbound::Limits::default();
        limits.at_once = bounds.at_once;
        limits.request_body = bounds.body;
        limits.response_body = bounds.body;
        Ok(Arc::new(Client(outbound::Client::new(allow, limits))))
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
