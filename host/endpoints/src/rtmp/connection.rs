//! One RTMP connection: the loop that owns the socket. What the machine asks is decided in `decisions`.

mod decisions;
mod end;

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::sync::watch;
use uuid::Uuid;
use wasmtx_hub::{self as hub, Client, CloseReason, Decision};
use wasmtx_protocol::{
    flv::Capabilities,
    rtmp::server::{self, Event, Output},
};

use super::{
    form::RtmpForm,
    publish::Recording,
    registry::{Conn, Details, Listed, Orders, State},
    server::Shared,
};
use crate::{
    admission::Slot,
    listener::Guest,
    permission::Permission,
    tcp::{Feed, Follower, Io, Membership, Outgoing, Over, Stream, Tally},
    waits::{answered, over, passed, stopping},
    wall_clock,
};
pub(super) use end::End;

/// For the last words to reach the peer: they should, but not at any price.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Everything about a connection that is not its socket.
struct Driver {
    shared: Arc<Shared>,
    slot: Slot,
    machine: server::Connection,
    conn: Listed<Conn>,
    /// What the gate last said.
    permission: Option<Permission>,
    /// Whom the gate let in.
    client: Option<Arc<Client>>,
    /// What a player takes.
    capabilities: Capabilities,
    playing: Option<Follower<RtmpForm>>,
    /// Who writes for this player, when it is not its own task.
    crew: Option<Membership<Follower<RtmpForm>>>,
    /// Apart, so that players do not carry its place.
    recording: Option<Box<Recording>>,
}

impl Tally for Conn {
    fn count_sent(&self, bytes: u64) {
        self.outbound_bytes.add(bytes);
    }

    fn count_discarded(&self, frames: u64) {
        self.outbound_frames_discarded.add(frames);
    }
}

pub(super) async fn serve(shared: Arc<Shared>, guest: Guest, stop: watch::Receiver<bool>) {
    let Guest {
        mut stream,
        slot,
        remote,
        encrypted,
        local: _,
    } = guest;
    let config = server::Config {
        read_timeout: shared.read_timeout,
    };
    let conn = Conn {
        id: Uuid::new_v4(),
        created: wall_clock(),
        remote,
        encrypted,
        details: Details::default().into(),
        inbound_bytes: Default::default(),
        outbound_bytes: Default::default(),
        outbound_frames_discarded: Default::default(),
        orders: Orders::default(),
    };
    let mut driver = Driver {
        machine: server::Connection::new(Instant::now(), config),
        conn: shared.registry.add(conn),
        permission: None,
        client: None,
        capabilities: Capabilities::legacy(),
        playing: None,
        crew: None,
        recording: None,
        shared,
        slot,
    };
    tracing::info!(conn = %driver.conn.id, %remote, "[RTMP] connection opened");
    let _visit = driver.shared.on_connect.greet(driver.kind(), driver.conn.id);
    let reason = driver.run(&mut stream, stop).await;
    driver.finish(reason);
}

impl Driver {
    /// The connection type of the API.
    fn kind(&self) -> &'static str {
        if self.conn.encrypted { "rtmpsConn" } else { "rtmpConn" }
    }

    async fn run(&mut self, stream: &mut Stream, stop: watch::Receiver<bool>) -> CloseReason {
        let mut outgoing = Outgoing::default();
        let end = self.serve(stream, &mut outgoing, stop).await;
        let end = if self.recording.is_some() { end } else { end.of_reader() };
        self.note_end(&end);
        // The path is free before the last words are said.
        if let Some(recording) = self.recording.take() {
            recording.close(Instant::now(), end.reason());
        }
        if end.leaves_time() {
            let _ = tokio::time::timeout(LAST_WORDS, self.say_goodbye(stream, &mut outgoing, &end)).await;
        }
        end.reason()
    }

    /// The loop: says, hears and waits until something ends it.
    async fn serve(&mut self, stream: &mut Stream, outgoing: &mut Outgoing, mut stop: watch::Receiver<bool>) -> End {
        let conn = Arc::clone(&self.conn);
        let bell = conn.orders.bell().notified();
        tokio::pin!(bell);
        let timer = tokio::time::sleep_until(Instant::now().into());
        tokio::pin!(timer);
        let mut input = BytesMut::new();
        let mut stalled_since = None;
        loop {
            let machine_deadline = match self.drain_machine(stream, &mut input, outgoing).await {
                Ok(deadline) => deadline,
                Err(end) => return end,
            };
            if let Some(recording) = &mut self.recording {
                recording.tell();
            }
            let now = Instant::now();
            // Not left to the end of the wait: a publisher that always has something to say would never get there.
            if let Err(end) = self.obey(now).and_then(|()| self.keep_time(now, machine_deadline)) {
                return end;
            }
            if let Some(crew) = &self.crew {
                if !outgoing.is_empty() {
                    crew.answer(outgoing.take());
                }
            } else {
                self.join_crew(stream, outgoing);
            }
            let mut ended = None;
            if outgoing.is_empty()
                && let Some(playing) = self.playing.as_mut().filter(|playing| playing.is_due())
            {
                ended = playing.fill_alone(now, outgoing);
            }
            if !outgoing.is_empty() {
                match stream.write_now(outgoing).await {
                    Ok(0) => stalled_since = stalled_since.or(Some(now)),
                    Ok(written) => {
                        self.conn.outbound_bytes.add(written as u64);
                        stalled_since = (!outgoing.is_empty()).then_some(now);
                    }
                    Err(error) => return End::Socket(error),
                }
            }
            if let Some(reason) = ended {
                return End::Stream(reason);
            }
            if stalled_since.is_some_and(|since| now.duration_since(since) >= self.shared.write_timeout) {
                return End::Stream(CloseReason::TooSlow);
            }
            let stall = stalled_since.map(|since| since + self.shared.write_timeout);
            let recording = self.recording.as_ref().and_then(|recording| recording.deadline());
            let permission = self.permission.as_ref().and_then(Permission::deadline);
            let deadline = [stall, recording, permission]
                .into_iter()
                .flatten()
                .fold(machine_deadline, Instant::min);
            if timer.deadline() != deadline.into() {
                timer.as_mut().reset(deadline.into());
            }

            let media = self.recording.is_some();
            let may_take = outgoing.is_empty();
            let may_ask = self.machine.wants_input() && !outgoing.is_choked();
            // A player learns from the stream's end that the server stops, and gets what comes before it.
            let may_go = self.playing.is_none() && self.crew.is_none();
            tokio::select! {
                biased;
                decision = answered(&mut self.permission) => {
                    if let Err(end) = self.take_answer(&decision) {
                        return end;
                    }
                }
                io = stream.ready(&mut input, may_ask, media, outgoing) => match io {
                    Ok(Io::Read(0)) => return End::Hangup,
                    Ok(Io::Read(len)) => {
                        self.conn.inbound_bytes.add(len as u64);
                        self.machine.handle_input(Instant::now(), &mut input);
                        if !media {
                            // The machine has every byte; what is left is room in the same memory.
                            input = BytesMut::new();
                        }
                    }
                    Ok(Io::Written(len)) => {
                        stalled_since = (!outgoing.is_empty()).then(Instant::now);
                        self.conn.outbound_bytes.add(len as u64);
                    }
                    Err(error) => return End::Socket(error),
                },
                () = news(&mut self.playing), if may_take => {}
                over = over(&mut self.crew) => {
                    self.crew = None;
                    let (half, end) = match over {
                        Over::Left(half) => (half, None),
                        Over::Ended(half, reason) => (half, Some(reason)),
                        Over::Failed(error) => return End::Socket(error),
                        Over::TooSlow => return End::Stream(CloseReason::TooSlow),
                    };
                    stream.give_back(half);
                    if let Some(reason) = end {
                        return End::Stream(reason);
                    }
                }
                reason = stopped(&mut self.recording) => return End::Stream(reason),
                () = &mut bell => bell.set(conn.orders.bell().notified()),
                () = stopping(&mut stop), if may_go => return End::Stream(CloseReason::Shutdown),
                () = &mut timer => {}
            }
        }
    }

    /// Tells a player why its stream is over, writes what was said already, and closes.
    async fn say_goodbye(&mut self, stream: &mut Stream, outgoing: &mut Outgoing, end: &End) -> Result<(), End> {
        self.leave_crew(stream, end.reason()).await?;
        self.machine.end_play(&end.to_string());
        while let Output::Send(bytes) = self.machine.poll() {
            outgoing.push(bytes);
        }
        stream.finish(outgoing).await.map_err(End::Socket)?;
        stream.read_away().await.map_err(End::Socket)
    }

    /// Does what others say: the operator, a plugin, the gate.
    fn obey(&mut self, now: Instant) -> Result<(), End> {
        if let Some(why) = self.conn.orders.kicked() {
            return Err(End::Kicked(why.to_owned()));
        }
        let rules = self.shared.registry.rules();
        self.permission.as_mut().map_or(Ok(()), |permission| {
            permission
                .handle_time(now, rules, &self.shared.gate)
                .map_err(End::Stream)
        })
    }

    /// Tells the machine and the recording what time it is, when they want to know.
    fn keep_time(&mut self, now: Instant, machine_deadline: Instant) -> Result<(), End> {
        if now >= machine_deadline {
            self.machine.handle_timeout(now);
        }
        match &mut self.recording {
            Some(recording) if recording.deadline().is_some_and(|deadline| now >= deadline) => {
                recording.handle_timeout(now)
            }
            _ => Ok(()),
        }
    }

    /// The gate was asked again, and answered.
    fn take_answer(&mut self, decision: &Decision) -> Result<(), End> {
        let now = Instant::now();
        if let Some(permission) = &mut self.permission {
            permission
                .handle_answer(now, decision, rand::random())
                .map_err(End::Stream)?;
            if let Some(recording) = &mut self.recording {
                recording.limit(now, permission.max_bitrate());
            }
        }
        Ok(())
    }

    /// Lets a crew write for a player whose connection is not encrypted.
    fn join_crew(&mut self, stream: &mut Stream, outgoing: &mut Outgoing) {
        if self.playing.is_some()
            && let Some(writer) = stream.lend()
            && let Some(playing) = self.playing.take()
        {
            self.crew = Some(playing.join_crew(writer, outgoing.take(), self.shared.write_timeout));
        }
    }

    /// Takes the writing half back, once the crew has written what it had begun.
    async fn leave_crew(&mut self, stream: &mut Stream, reason: CloseReason) -> Result<(), End> {
        let Some(crew) = self.crew.take() else { return Ok(()) };
        match crew.leave(reason).await {
            Over::Left(half) | Over::Ended(half, _) => {
                stream.give_back(half);
                Ok(())
            }
            Over::Failed(error) => Err(End::Socket(error)),
            Over::TooSlow => Err(End::Stream(CloseReason::TooSlow)),
        }
    }

    /// Does what the machine says until it waits.
    async fn drain_machine(
        &mut self,
        stream: &mut Stream,
        input: &mut BytesMut,
        outgoing: &mut Outgoing,
    ) -> Result<Instant, End> {
        loop {
            match self.machine.poll() {
                Output::Send(bytes) => outgoing.push_answer(bytes),
                // Apart, as they are rare: a connection does not carry their room along.
                Output::Event(Event::Pause(pause)) => Box::pin(self.pause(pause, stream)).await?,
                Output::Event(Event::Ended) => Box::pin(self.end_stream(stream)).await?,
                Output::Event(event) if event.is_question() => Box::pin(self.decide(event, stream, input)).await?,
                Output::Event(event) => self.record(event)?,
                Output::Close(reason) => return Err(End::Machine(reason)),
                Output::WaitUntil(deadline) => return Ok(deadline),
            }
        }
    }

    /// Looks for the answer to a question for as long as the client is there: the gate may have to ask others, and a path
    /// be brought online first.
    async fn decide(&mut self, event: Event, stream: &mut Stream, input: &mut BytesMut) -> Result<(), End> {
        let conn = Arc::clone(&self.conn);
        let answer = async {
            match event {
                Event::Publish(ask) => self.publish(ask).await,
                Event::Play(ask) => self.play(ask).await,
                _ => {}
            }
        };
        tokio::select! {
            biased;
            () = answer => {}
            gone = stream.gone(input) => return Err(gone.map_or_else(End::Socket, |()| End::Hangup)),
            why = conn.orders.kick() => return Err(End::Kicked(why)),
        }
        if !input.is_empty() {
            self.conn.inbound_bytes.add(input.len() as u64);
            self.machine.handle_input(Instant::now(), input);
        }
        Ok(())
    }

    /// Takes what a publisher sends.
    fn record(&mut self, event: Event) -> Result<(), End> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let was_online = recording.is_online();
        let now = Instant::now();
        match event {
            Event::Media(message) => recording.handle_media(now, message)?,
            Event::Data { name, values, .. } => recording.handle_data(now, &name, &values)?,
            _ => {}
        }
        if !was_online && recording.is_online() {
            self.note_state(State::Publish);
        }
        Ok(())
    }

    /// A player that pauses gets nothing meanwhile, and begins anew.
    async fn pause(&mut self, pause: bool, stream: &mut Stream) -> Result<(), End> {
        let plays = self.crew.is_some() || self.playing.is_some();
        if pause {
            self.leave_crew(stream, CloseReason::Ended).await?;
            self.playing = None;
        } else if let (false, Some(permission)) = (plays, &self.permission) {
            let path = permission.path().clone();
            let until = permission.until();
            tokio::select! {
                read = self.read(&path) => read.map_err(|_| End::Stream(CloseReason::Ended))?,
                () = passed(until) => return Err(End::Stream(CloseReason::Expired)),
            }
        }
        Ok(())
    }

    /// The peer ended its stream: the path is free although the connection stays a moment.
    async fn end_stream(&mut self, stream: &mut Stream) -> Result<(), End> {
        if let Some(recording) = self.recording.take() {
            recording.close(Instant::now(), CloseReason::Ended);
        }
        self.leave_crew(stream, CloseReason::Ended).await?;
        self.playing = None;
        self.note_state(State::Idle);
        Ok(())
    }

    fn note_state(&self, state: State) {
        self.conn.details.lock().state = state;
    }

    /// Logs and counts the end.
    fn note_end(&self, end: &End) {
        let path = self
            .permission
            .as_ref()
            .map_or("", |permission| permission.path().as_str());
        let stage = self
            .recording
            .as_ref()
            .and_then(|recording| recording.closed_by_stage());
        let code = end.code();
        if let Some(label) = end.blame() {
            self.shared.registry.count_refused(label);
        }
        let (conn, remote) = (self.conn.id, self.conn.remote);
        let is_hostile = end.is_hostile() && self.shared.complaints.is_due(remote.ip(), code);
        match (end, stage) {
            (End::Stream(CloseReason::Kicked), Some(stage)) => {
                tracing::warn!(%conn, path, code, "[RTMP] connection closed: {stage}");
            }
            _ if is_hostile => tracing::warn!(%conn, %remote, path, code, "[RTMP] connection closed: {end}"),
            _ => tracing::info!(%conn, path, code, "[RTMP] connection closed: {end}"),
        }
    }

    fn finish(mut self, reason: CloseReason) {
        if let Some(playing) = self.playing.take() {
            playing.close(reason);
        }
        if let Some(crew) = self.crew.take() {
            crew.close(reason);
        }
        if let Some(client) = self.client.take() {
            let events = self.shared.hub.events();
            events.emit(|| hub::Event::Disconnected(client, reason));
        }
    }
}

/// Resolves when the player has something to take; never without a player.
async fn news(playing: &mut Option<Follower<RtmpForm>>) {
    match playing {
        Some(playing) => playing.news().await,
        None => pending().await,
    }
}

/// Resolves when the publisher must stop; never without one.
async fn stopped(recording: &mut Option<Box<Recording>>) -> CloseReason {
    match recording {
        Some(recording) => recording.stop().await,
        None => pending().await,
    }
}
