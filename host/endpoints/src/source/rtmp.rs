//! RTMP as a player.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep_until, timeout},
};
use wasmtx_protocol::{
    flv::{self, Tag},
    rtmp::{
        Capabilities, Kind,
        client::{Client, Config, Event, Goal, Output, Reason, Url},
    },
};

use super::{
    Failure, Plan, START, Source,
    intake::Intake,
    target::{InvalidTarget, Target},
};
use crate::dial::Connection;

/// Read at once.
const CHUNK: usize = 64 << 10;
/// How long the server may take to read what we say, which is little.
const WRITE: Duration = Duration::from_secs(10);
/// Connections that the authentication of `authmod=adobe` takes.
const CHALLENGES: usize = 3;
/// What players have always called themselves: some servers look at it.
const FLASH_VERSION: &str = "LNX 9,0,124,2";

/// Plays a stream and publishes it until something fails.
pub(super) async fn run(source: &mut Source, target: &Target) -> Result<Infallible, Failure> {
    let mut proof = String::new();
    // A server that wants to know who we are says so, and what to answer; the machine gives up by itself when that does
    // not help.
    for _ in 0..CHALLENGES {
        let turn = source.puller.turn().await?;
        let connection = timeout(START, open(&source.plan, target))
            .await
            .map_err(|_| Failure::NoAnswer)??;
        let config = Config {
            url: Url::parse(target.text.expose()).map_err(|error| InvalidTarget::Url(error.to_string()))?,
            flash_version: FLASH_VERSION.to_owned(),
            capabilities: Capabilities::ours(),
            read_timeout: source.plan.read_timeout,
            proof: proof.clone(),
            seed: rand::random(),
        };
        let session = Session {
            client: Client::new(Instant::now(), config, Goal::Play),
            connection,
            intake: Intake::new(Instant::now()),
        };
        match session.run(source, target, turn).await {
            Err(Failure::Rtmp(Reason::Challenged(asked))) => proof = asked,
            outcome => return outcome,
        }
    }
    Err(Failure::Rtmp(Reason::Challenged(proof)))
}

async fn open(plan: &Plan, target: &Target) -> Result<Box<dyn Connection>, Failure> {
    let host = target.host();
    let place = plan.place(target, &host);
    Ok(place.open(target.encrypted, plan.fingerprint).await?)
}

struct Session {
    client: Client,
    connection: Box<dyn Connection>,
    intake: Intake,
}

impl Session {
    async fn run<T>(mut self, source: &mut Source, target: &Target, turn: T) -> Result<Infallible, Failure> {
        // Others may connect once this one plays.
        let mut turn = Some(turn);
        let mut input = BytesMut::new();
        loop {
            let deadline = loop {
                match self.client.poll() {
                    Output::Send(bytes) => {
                        let written = timeout(WRITE, self.connection.write_all(&bytes)).await;
                        written.map_err(|_| Failure::Silence)?.map_err(|_| Failure::Closed)?;
                    }
                    Output::Event(event) => {
                        if matches!(event, Event::Playing) {
                            turn = None;
                            self.intake = Intake::new(Instant::now());
                        }
                        self.handle(event, source, target)?;
                    }
                    Output::Close(reason) => return Err(Failure::Rtmp(reason)),
                    Output::WaitUntil(deadline) => break deadline,
                }
            };
            let own = turn.is_none().then(|| self.intake.deadline(source)).flatten();
            let deadline = own.map_or(deadline, |own| own.min(deadline));
            input.reserve(CHUNK);
            tokio::select! {
                read = self.connection.read_buf(&mut input) => match read {
                    Ok(0) | Err(_) => return Err(Failure::Closed),
                    Ok(_) => self.client.handle_input(Instant::now(), &mut input),
                },
                () = sleep_until(deadline.into()) => {
                    let now = Instant::now();
                    self.client.handle_timeout(now);
                    if turn.is_none() {
                        self.intake.handle_timeout(now, source, target)?;
                    }
                }
            }
        }
    }

    fn handle(&mut self, event: Event, source: &mut Source, target: &Target) -> Result<(), Failure> {
        match event {
            Event::Media(message) => {
                let kind = match message.kind {
                    Kind::Audio => flv::Kind::Audio,
                    _ => flv::Kind::Video,
                };
                let tag = Tag {
                    kind,
                    timestamp: message.timestamp,
                    payload: message.payload,
                };
                self.intake.handle_tag(Instant::now(), &tag, source, target)
            }
            Event::Data { name, values, .. } => {
                self.intake.handle_data(&name, &values);
                Ok(())
            }
            Event::Playing | Event::Publishing => Ok(()),
        }
    }
}
