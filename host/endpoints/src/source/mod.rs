//! Streams that the server fetches itself (`source: rtsp://…`, `rtmp://…`, `http://….flv`).
//!
//! A source belongs to a path and lives as long as its [`Pull`]: it connects, publishes, and after a failure tries again
//! with a growing pause. The other side is trusted no more than a client is.

mod flv;
mod intake;
mod rtmp;
mod rtsp;
mod target;
mod tunnel;

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tracing::{debug, info, warn};
use uuid::Uuid;
use wasmtx_hub::{CloseReason, Hub, Path, Peer, PublishError, Publisher};
use wasmtx_media::Tracks;

pub use target::InvalidTarget;
pub(crate) use target::expand;
use target::{Protocol, Target};

use crate::{
    backoff::Backoff,
    dial::{self, Guard, Place},
    outbound::Allow,
    wall_clock,
};

/// Sources that are connecting at once, unless the configuration says otherwise.
pub const STARTING: usize = 64;
/// A stream that lasted this long counts as a success: the next failure's pause is the first one again.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a name, a connection and everything up to the first media may take together.
const START: Duration = Duration::from_secs(10);
/// What the other side sees.
const USER_AGENT: &str = concat!("wasmtx/", env!("CARGO_PKG_VERSION"));

/// A source as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `rtsp(s)://`, `rtmp(s)://` or `http(s)://….flv`, with user and password, `$G1`… and `$MTX_QUERY` still in place.
    pub url: Url,
    /// `rtspTransport`, of RTSP.
    pub transport: Transport,
    /// `sourceFingerprint`: the SHA-256 of the server's certificate.
    pub fingerprint: Option<[u8; 32]>,
    /// `readTimeout`: how long the server may be silent.
    pub read_timeout: Duration,
    /// A plugin named the URL: it leads to public addresses, and to those listed here, and nowhere else.
    pub named: Option<Allow>,
}

/// How a source is fetched whose URL a plugin names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// `readTimeout`: how long the server may be silent.
    pub read_timeout: Duration,
}

impl Plan {
    /// For a URL that a plugin named; `hosts` are the addresses beside the public ones that it may lead to.
    ///
    /// # Errors
    /// [`InvalidTarget`] when it is no URL of a source.
    pub fn named(url: &str, hosts: &[String], manner: Manner) -> Result<Plan, InvalidTarget> {
        Target::named(url)?;
        Ok(Plan {
            url: Url::new(url)?,
            // Where a stranger chose the server, media stay within the connection anyway.
            transport: Transport::Tcp,
            fingerprint: None,
            read_timeout: manner.read_timeout,
            // The list was checked with the configuration.
            named: Some(Allow::parse(hosts).unwrap_or_default()),
        })
    }

    /// Where a target is, and what its address has to be.
    fn place<'a>(&'a self, target: &Target, host: &'a str) -> Place<'a> {
        let guard = match &self.named {
            _ if target.trusted_host => Guard::Trusted,
            Some(allow) => Guard::Listed(allow),
            None => Guard::Public,
        };
        Place {
            host,
            port: target.port(),
            guard,
        }
    }
}

/// The template of a source's URL. Not shown: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Arc<str>);

impl Url {
    /// Checks as much of a template as can be without its values.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what is wrong.
    pub fn new(template: &str) -> Result<Url, InvalidTarget> {
        match template.split_once("://") {
            Some((_, rest)) if !rest.is_empty() && Protocol::of(template).is_some() => Ok(Url(template.into())),
            _ => Err(InvalidTarget::Scheme),
        }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url")
    }
}

/// How media travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams, and within the connection when those do not arrive.
    #[default]
    Automatic,
    /// Datagrams.
    Udp,
    /// Within the connection.
    Tcp,
}

/// Starts sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Puller {
    hub: Hub,
    starting: Arc<Semaphore>,
}

impl Puller {
    /// Publishes to `hub`; at most `starting` sources connect at once, the others wait for their turn.
    pub fn new(hub: Hub, starting: usize) -> Puller {
        Puller {
            hub,
            starting: Arc::new(Semaphore::new(starting.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Waits for a turn to connect, which lasts until it is dropped.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        // The semaphore is never closed.
        let turn = self.starting.clone().acquire_owned().await;
        turn.map_err(|_| Failure::NoAnswer)
    }

    /// Fetches a stream for a path until the handle is dropped. `query` is the one of the reader who asked for it.
    pub fn start(&self, plan: Plan, path: Arc<Path>, query: &str) -> Pull {
        let (stop, stopped) = oneshot::channel();
        let source = Source {
            puller: self.clone(),
            plan,
            path,
            query: query.to_owned(),
            id: Uuid::new_v4(),
            publisher: None,
            tcp_only: false,
        };
        Pull {
            stop,
            task: tokio::spawn(source.run(stopped)),
        }
    }
}

/// A running source. Dropping it ends the source in the background.
#[derive(Debug)]
pub struct Pull {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Pull {
    /// Ends the source and waits until it has left its path.
    pub async fn close(self) {
        drop(self.stop);
        // Fails only when the task panicked, which has been told already.
        let _ = self.task.await;
    }
}

/// Why a source has failed this time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    #[error(transparent)]
    Dial(#[from] dial::Error),
    #[error("RTSP over TLS travels within its connection, not over UDP")]
    EncryptedUdp,
    #[error("{0}")]
    Rtsp(String),
    #[error("{0}")]
    Rtmp(wasmtx_protocol::rtmp::client::Reason),
    #[error("{0}")]
    Http(String),
    #[error(transparent)]
    Flv(#[from] wasmtx_protocol::flv::Error),
    #[error("{1}")]
    Refused(u16, String),
    #[error("the server does not answer")]
    NoAnswer,
    #[error("the server describes no stream that can be read")]
    NoTracks,
    #[error("the server sends nothing")]
    Silence,
    #[error("the server has closed the connection")]
    Closed,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("a plugin refuses the stream's new tracks: {0}")]
    Tracks(wasmtx_hub::Refusal),
    #[error("the stream was ended: {0:?}")]
    Ended(CloseReason),
}

/// The task behind a [`Pull`].
struct Source {
    puller: Puller,
    plan: Plan,
    path: Arc<Path>,
    query: String,
    id: Uuid,
    /// While the stream is online. Here, so that whoever ends the source can say why.
    publisher: Option<Publisher>,
    /// Datagrams did not arrive: don't wait for them again.
    tcp_only: bool,
}

impl Source {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let (mut backoff, mut said) = (Backoff::default(), None);
        loop {
            let started = Instant::now();
            let failure = tokio::select! {
                failure = self.attempt() => failure,
                _ = &mut stopped => break,
            };
            let was_online = self.leave(CloseReason::Failed);
            if was_online && started.elapsed() >= SETTLED {
                backoff.reset();
            }
            let pause = backoff.next(rand::random());
            let reason = failure.to_string();
            if was_online || said.as_ref() != Some(&reason) {
                warn!(path = %self.path.name, source = %self.id, %reason, ?pause, "source failed, it is tried again");
            } else {
                debug!(path = %self.path.name, source = %self.id, %reason, ?pause, "source failed again");
            }
            said = Some(reason);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stopped => break,
            }
        }
        self.leave(CloseReason::Ended);
    }

    /// Connects and publishes until something fails.
    async fn attempt(&mut self) -> Failure {
        let target = match &self.plan.named {
            None => Target::new(&self.plan.url.0, &self.path.groups(), &self.query),
            Some(_) => Target::named(&self.plan.url.0),
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => return error.into(),
        };
        match target.protocol {
            Protocol::Rtsp => self.attempt_rtsp(&target).await,
            Protocol::Rtmp => ended(rtmp::run(self, &target).await),
            Protocol::Flv => ended(flv::run(self, &target).await),
        }
    }

    async fn attempt_rtsp(&mut self, target: &Target) -> Failure {
        let lower = match self.plan.transport {
            _ if target.encrypted && self.plan.transport == Transport::Udp => return Failure::EncryptedUdp,
            // A server that a client chose could send our datagrams where it likes.
            _ if !target.trusted_host => rtsp::Lower::Tcp,
            Transport::Udp => rtsp::Lower::Udp,
            Transport::Automatic if !self.tcp_only && !target.encrypted => rtsp::Lower::Udp,
            _ => rtsp::Lower::Tcp,
        };
        let failure = ended(rtsp::run(self, target, lower).await);
        let without_media = lower == rtsp::Lower::Udp && self.publisher.is_none();
        if self.plan.transport == Transport::Automatic && without_media && failure.may_be_transport() {
            info!(path = %self.path.name, source = %self.id, reason = %failure, "no media over UDP, trying TCP");
            let failure = ended(rtsp::run(self, target, rtsp::Lower::Tcp).await);
            self.tcp_only = self.publisher.is_some();
            return failure;
        }
        failure
    }

    /// Publishes, from now on, a stream of these tracks.
    fn go_online(&mut self, target: &Target, tracks: Tracks) -> Result<(), Failure> {
        let (hub, name) = (&self.puller.hub, &self.path.name);
        let peer = Peer {
            kind: target.protocol.source_kind(),
            id: self.id,
        };
        let url = Some(target.url.to_string());
        let now = std::time::Instant::now();
        let publisher = hub.publish(now, wall_clock(), name, peer, None, url, tracks)?;
        let tracks = publisher.publication().tracks();
        let codecs: Vec<_> = tracks.iter().map(|track| track.codec.name()).collect();
        info!(path = %name, source = %self.id, host = target.host(), tracks = codecs.join(", "), "source online");
        self.publisher = Some(publisher);
        Ok(())
    }

    /// Takes the path offline; whether it was online.
    fn leave(&mut self, reason: CloseReason) -> bool {
        let publisher = self.publisher.take();
        let was_online = publisher.is_some();
        if let Some(publisher) = publisher {
            info!(path = %self.path.name, source = %self.id, "source offline");
            publisher.close(std::time::Instant::now(), reason);
        }
        was_online
    }
}

fn ended(outcome: Result<Infallible, Failure>) -> Failure {
    match outcome {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

impl Failure {
    /// Whether another transport could help.
    fn may_be_transport(&self) -> bool {
        match self {
            Failure::Silence | Failure::Rtsp(_) | Failure::Closed => true,
            Failure::Refused(status, _) => !matches!(status, 401 | 403 | 404),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
