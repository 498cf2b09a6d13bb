//! What an RTSP client shows, as the gate wants to see it, and what the gate's answers are in RTSP.

use std::sync::Arc;

use wasmtx_hub::{Denial, Proof, PublishError, ReadError};
use wasmtx_protocol::rtsp::{Status, auth::Credentials};

/// Credentials of the `Authorization` header, and a token of the URL's query.
#[derive(Debug)]
pub(super) struct RtspProof {
    credentials: Option<Credentials>,
    token: Option<String>,
}

impl RtspProof {
    pub(super) fn new(credentials: Option<Credentials>, query: &str) -> Arc<RtspProof> {
        let token = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "jwt" || key == "token");
        Arc::new(RtspProof {
            credentials,
            token: token.map(|(_, value)| value.into_owned()),
        })
    }
}

impl Proof for RtspProof {
    fn is_some(&self) -> bool {
        self.credentials.is_some() || self.token.is_some()
    }

    fn user(&self) -> Option<&str> {
        self.credentials.as_ref().map(|credentials| credentials.user.as_str())
    }

    fn matches(&self, user: &str, secret: &str) -> bool {
        self.credentials
            .as_ref()
            .is_some_and(|credentials| credentials.matches(user, secret))
    }

    fn password(&self) -> Option<&str> {
        self.credentials.as_ref()?.password().map(|secret| secret.expose())
    }

    fn token(&self) -> Option<&str> {
        let bearer = self.credentials.as_ref().and_then(|credentials| credentials.token());
        bearer.map(|secret| secret.expose()).or(self.token.as_deref())
    }
}

/// A refusal other than a challenge.
pub(super) fn denied(denial: Denial) -> Status {
    match denial {
        Denial::Credentials => Status::UNAUTHORIZED,
        Denial::NotAllowed => Status::FORBIDDEN,
        Denial::NotFound => Status::NOT_FOUND,
        Denial::TooMany | Denial::Later => Status::SERVICE_UNAVAILABLE,
    }
}

pub(super) fn unreadable(error: &ReadError) -> Status {
    match error {
        ReadError::TooManyReaders => Status::NOT_ENOUGH_BANDWIDTH,
        ReadError::TooManyPaths => Status::SERVICE_UNAVAILABLE,
        _ => Status::NOT_FOUND,
    }
}

pub(super) fn unpublishable(error: &PublishError) -> Status {
    match error {
        PublishError::NotConfigured => Status::NOT_FOUND,
        PublishError::NotForPublishers | PublishError::Occupied | PublishError::Refused(_) => Status::FORBIDDEN,
        PublishError::Tracks => Status::BAD_REQUEST,
        _ => Status::SERVICE_UNAVAILABLE,
    }
}
