//! RTMP as a publisher: an ordinary reader of the path, written to a server as fast as that takes it.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep_until, timeout},
};
use tracing::warn;
use wasmtx_hub::{Drained, Reader};
use wasmtx_media::TrackId;
use wasmtx_protocol::{
    flv::{self, Choice, Muxer, Tag},
    rtmp::{
        self, Kind,
        client::{Client, Config, Event, Goal, Output, Reason, Url},
    },
};

use super::{Attempt, Forward, Push, Target};
use crate::dial::{self, Connection, Guard, Place};

/// How long a name and a connection may take together; the machine bounds what follows.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may take nothing of what is written.
const WRITE: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections that the authentication of `authmod=adobe` takes.
const CHALLENGES: usize = 3;
/// Read at once of what a server says to a publisher, which is little.
const CHUNK: usize = 4 << 10;
/// Taken from the ring at one wake, at most.
const FRAMES: usize = 256;
/// Taken from the ring at one wake, about.
const BYTES: usize = 1 << 20;
/// What publishers call themselves: servers take who names FMLE for one.
const FLASH_VERSION: &str = concat!("FMLE/3.0 (compatible; wasmtx/", env!("CARGO_PKG_VERSION"), ")");

/// Publishes to RTMP servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtmp;

impl Push for Rtmp {
    fn push<'a>(&'a self, attempt: Attempt<'a>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { send(attempt).await.map_err(|failure| failure.to_string()) })
    }
}

/// Why a stream does not get there.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the URL is not valid")]
    Url,
    #[error(transparent)]
    Dial(#[from] dial::Error),
    #[error("the server does not answer")]
    NoAnswer,
    #[error("the server has closed the connection")]
    Closed,
    #[error("the server takes nothing any more")]
    Stalled,
    #[error("{0}")]
    Server(Reason),
    #[error("nothing of the stream can be sent to this server: {0}")]
    NoTracks(String),
}

async fn send(attempt: Attempt<'_>) -> Result<(), Failure> {
    let Attempt {
        target,
        reader,
        forward,
    } = attempt;
    let url = Url::parse(&target.url).map_err(|_| Failure::Url)?;
    let mut proof = String::new();
    // A server that wants to know who we are says so, and what to answer.
    for _ in 0..CHALLENGES {
        let mut session = Session::begin(&target, &url, proof.clone()).await?;
        match session.publish().await {
            Err(Failure::Server(Reason::Challenged(asked))) => proof = asked,
            Err(failure) => return Err(failure),
            Ok(()) => return session.stream(reader, forward).await,
        }
    }
    Err(Failure::Server(Reason::Challenged(proof)))
}

struct Session {
    client: Client,
    connection: Box<dyn Connection>,
    input: BytesMut,
    /// What waits to be written.
    output: BytesMut,
}

impl Session {
    async fn begin(target: &Target, url: &Url, proof: String) -> Result<Session, Failure> {
        let guard = if target.trusted_host {
            Guard::Trusted
        } else {
            Guard::Public
        };
        let place = Place {
            host: &url.host,
            port: url.port,
            guard,
        };
        let opened = timeout(CONNECT, place.open(url.secure, target.fingerprint)).await;
        let connection = opened.map_err(|_| Failure::NoAnswer)??;
        let config = Config {
            url: url.clone(),
            flash_version: FLASH_VERSION.to_owned(),
            capabilities: rtmp::Capabilities::ours(),
            // Of no matter to a publisher.
            read_timeout: CONNECT,
            proof,
            seed: rand::random(),
        };
        Ok(Session {
            client: Client::new(Instant::now(), config, Goal::Publish),
            connection,
            input: BytesMut::new(),
            output: BytesMut::new(),
        })
    }

    /// Says what has to be said until media may be sent.
    async fn publish(&mut self) -> Result<(), Failure> {
        loop {
            let (deadline, accepted) = self.drain()?;
            self.write().await?;
            if accepted {
                return Ok(());
            }
            self.hear(deadline).await?;
        }
    }

    /// Sends frames until the stream ends.
    async fn stream(mut self, mut reader: Reader, forward: &Forward) -> Result<(), Failure> {
        let server = self.client.server();
        let capabilities = flv::Capabilities::enhanced(|four_cc| server.carries(four_cc), server.multitrack());
        let choice = Choice::of(&reader.publication().tracks(), &capabilities);
        if choice.tracks.is_empty() {
            return Err(Failure::NoTracks(choice.left_out.join(", ")));
        }
        if !choice.left_out.is_empty() {
            let (path, left_out) = (&forward.path, choice.left_out.join(", "));
            warn!(%path, forward = %forward.id, left_out, "[forward] the server cannot take all tracks");
        }
        let chosen: Vec<TrackId> = choice.tracks.iter().map(|track| track.id).collect();
        reader.take(&chosen);
        forward.begin();
        let mut muxer = Muxer::new(&choice.tracks);
        let (mut entries, mut lost, mut tags) = (Vec::new(), 0, Vec::new());
        // Where the stream begins for this server.
        let mut start = None;
        loop {
            let drained = reader.drain(FRAMES, BYTES, &mut entries, &mut lost);
            for entry in entries.drain(..) {
                let track = &entry.tracks[entry.slot];
                let time = flv::milliseconds(entry.frame.dts.max(0), track.clock_rate);
                if start.is_none() {
                    tags.extend(muxer.opening(&entry.tracks, 0));
                }
                // Sound may begin a little before the picture that the stream begins with.
                let time = time.saturating_sub(*start.get_or_insert(time)).max(0);
                muxer.tags(&entry.frame, track, &mut tags);
                tags.drain(..).for_each(|tag| self.queue(tag, time));
            }
            let (deadline, _) = self.drain()?;
            forward.outbound_bytes.add(self.output.len() as u64);
            self.write().await?;
            match drained {
                Drained::Ended(_) => return self.end().await,
                Drained::More => continue,
                Drained::Empty => {}
            }
            tokio::select! {
                () = reader.wait() => {}
                heard = self.hear(deadline) => heard?,
            }
        }
    }

    /// Sends a tag, `time` milliseconds after the stream began for this server.
    fn queue(&mut self, tag: Tag, time: i64) {
        let kind = match tag.kind {
            flv::Kind::Audio => Kind::Audio,
            flv::Kind::Video => Kind::Video,
            flv::Kind::Script => Kind::Data,
        };
        // Modulo 2^32 is what the field is.
        self.client.send(kind, time as u32, tag.payload);
    }

    /// Takes what the machine has to say: until when, and whether media may be sent now.
    fn drain(&mut self) -> Result<(Instant, bool), Failure> {
        let mut accepted = false;
        loop {
            match self.client.poll() {
                Output::Send(bytes) => self.output.extend_from_slice(&bytes),
                Output::Event(event) => accepted |= matches!(event, Event::Publishing),
                Output::Close(reason) => return Err(Failure::Server(reason)),
                Output::WaitUntil(deadline) => return Ok((deadline, accepted)),
            }
        }
    }

    async fn write(&mut self) -> Result<(), Failure> {
        while !self.output.is_empty() {
            let written = timeout(WRITE, self.connection.write_buf(&mut self.output)).await;
            match written.map_err(|_| Failure::Stalled)? {
                Ok(0) | Err(_) => return Err(Failure::Closed),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Waits for the server, until the machine wants to be looked at. Cancel safe.
    async fn hear(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.input.reserve(CHUNK);
        tokio::select! {
            read = self.connection.read_buf(&mut self.input) => match read {
                Ok(0) | Err(_) => Err(Failure::Closed),
                Ok(_) => {
                    self.client.handle_input(Instant::now(), &mut self.input);
                    Ok(())
                }
            },
            () = sleep_until(deadline.into()) => {
                self.client.handle_timeout(Instant::now());
                Ok(())
            }
        }
    }

    /// The stream is over: says so, as long as somebody listens.
    async fn end(mut self) -> Result<(), Failure> {
        self.client.close();
        while let Output::Send(bytes) = self.client.poll() {
            self.output.extend_from_slice(&bytes);
        }
        let _ = timeout(GOODBYE, async {
            self.write().await?;
            self.connection.shutdown().await.map_err(|_| Failure::Closed)
        })
        .await;
        Ok(())
    }
}

#[cfg(test)]
#[path = "rtmp_tests.rs"]
mod tests;
