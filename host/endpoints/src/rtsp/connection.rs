//! One RTSP connection: the loop that owns the socket. What the machine asks is decided in `decisions`.

mod decisions;
mod end;
mod waits;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use uuid::Uuid;
use wasmtx_hub::{self as hub, Client, CloseReason, Decision, Publication};
use wasmtx_protocol::rtsp::server::{self, Event, Output};

use super::{
    play::{Interleaved, Playing, Way, Ways, send_rtcp},
    ports::{Address, Datagram, Inbox},
    record::{Announced, Recording},
    registry::{Conn, Listed, Orders, Session, State, Traffic},
    server::Shared,
    wire::RtpForm,
};
use crate::{
    admission::Slot,
    listener::Guest,
    permission::Permission,
    tcp::{Hand, Io, Membership, Outgoing, Over, Stream},
    waits::{answered, over, passed, stopping},
    wall_clock,
};
pub(super) use end::End;
use waits::{news, notice, receive};

/// For the last answer to reach the peer: it should, but not at any price.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Time between two receiver reports of a media.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Everything about a connection that is not its socket.
struct Driver {
    shared: Arc<Shared>,
    slot: Slot,
    remote: SocketAddr,
    encrypted: bool,
    local: SocketAddr,
    machine: server::Connection,
    conn: Listed<Conn>,
    session: Option<Listed<Session>>,
    orders: Arc<Orders>,
    /// What the gate last said; once there is a session, what it said to that.
    permission: Option<Permission>,
    /// Whom the gate let in, until the session ends.
    client: Option<Arc<Client>>,
    announced: Option<Announced>,
    publication: Option<Arc<Publication>>,
    /// Held from SETUP on: the source that SETUP announces is the one that PLAY sends.
    lane: Option<Arc<hub::Lane<RtpForm>>>,
    ways: Ways,
    playing: Option<Playing>,
    /// Who writes for this reader, when it is not its own task.
    crew: Option<Membership<Interleaved>>,
    recording: Option<Recording>,
    next_report: Instant,
    /// What the reader says that it lost, by media.
    reported_lost: Vec<u64>,
    inbox: Option<(Address, Inbox)>,
}

pub(super) async fn serve(shared: Arc<Shared>, guest: Guest, stop: watch::Receiver<bool>) {
    let Guest {
        mut stream,
        slot,
        local,
        remote,
        encrypted,
    } = guest;
    let now = Instant::now();
    let conn = Conn {
        id: Uuid::new_v4(),
        created: wall_clock(),
        remote,
        encrypted,
        session: Default::default(),
        inbound_bytes: Default::default(),
        outbound_bytes: Default::default(),
    };
    let mut driver = Driver {
        machine: server::Connection::new(now, shared.machine_config(remote.ip())),
        conn: shared.registry.add_conn(conn),
        session: None,
        orders: Arc::default(),
        permission: None,
        client: None,
        announced: None,
        publication: None,
        lane: None,
        ways: Vec::new(),
        playing: None,
        crew: None,
        recording: None,
        next_report: now + REPORT_EVERY,
        reported_lost: Vec::new(),
        inbox: None,
        shared,
        slot,
        remote,
        encrypted,
        local,
    };
    tracing::info!(conn = %driver.conn.id, %remote, "[RTSP] connection opened");
    let _visit = driver
        .shared
        .on_connect
        .greet(driver.shared.conn_kind(encrypted), driver.conn.id);
    let end = driver.run(&mut stream, stop).await;
    driver.finish(end);
}

impl Driver {
    async fn run(&mut self, stream: &mut Stream, stop: watch::Receiver<bool>) -> End {
        let mut outgoing = Outgoing::default();
        let end = self.serve(stream, &mut outgoing, stop).await;
        if end.leaves_time() {
            let _ = tokio::time::timeout(LAST_WORDS, self.say_goodbye(stream, &mut outgoing, end.reason())).await;
        }
        end
    }

    /// The loop: says, hears and waits until something ends it.
    async fn serve(&mut self, stream: &mut Stream, outgoing: &mut Outgoing, mut stop: watch::Receiver<bool>) -> End {
        let orders = self.orders.clone();
        let bell = orders.bell().notified();
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
            if let Err(end) = self.obey(now) {
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
                && let (Some(playing), Some(session)) =
                    (self.playing.as_mut().filter(|playing| playing.is_due()), &self.session)
            {
                match playing.fill(now, &self.ways, outgoing, &session.traffic).await {
                    Ok(reason) => ended = reason,
                    Err(error) => return End::Socket(error),
                }
            }
            if let Err(error) = self.report(now, outgoing).await {
                return End::Socket(error);
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
            let recording = self.recording.as_ref().and_then(Recording::deadline);
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
            // A reader learns from the stream's end that the server stops, and gets what comes before it.
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
                        if let Some(session) = &self.session {
                            session.traffic.inbound_bytes.add(len as u64);
                        }
                        self.machine.handle_input(Instant::now(), &mut input);
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
                datagram = receive(&mut self.inbox) => {
                    if let Err(end) = self.handle_datagram(datagram) {
                        return end;
                    }
                }
                notice = notice(&mut self.recording) => {
                    if let Some(reason) = notice {
                        return End::Stream(reason);
                    }
                }
                () = &mut bell => bell.set(orders.bell().notified()),
                () = stopping(&mut stop), if may_go => return End::Stream(CloseReason::Shutdown),
                () = &mut timer => {
                    let now = Instant::now();
                    self.machine.handle_timeout(now);
                    if let Some(recording) = &mut self.recording
                        && let Err(end) = recording.handle_timeout(now)
                    {
                        return end;
                    }
                }
            }
        }
    }

    /// Writes what was said already, and closes.
    async fn say_goodbye(
        &mut self,
        stream: &mut Stream,
        outgoing: &mut Outgoing,
        reason: CloseReason,
    ) -> Result<(), End> {
        self.leave_crew(stream, reason).await?;
        stream.finish(outgoing).await.map_err(End::Socket)
    }

    /// Does what others say: the operator, a plugin, the gate.
    fn obey(&mut self, now: Instant) -> Result<(), End> {
        if let Some(why) = self.orders.kicked() {
            return Err(End::Kicked(why.to_owned()));
        }
        let rules = self.shared.registry.rules();
        self.permission.as_mut().map_or(Ok(()), |permission| {
            permission
                .handle_time(now, rules, &self.shared.gate)
                .map_err(End::Stream)
        })
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

    /// Lets a crew write for a reader whose medias all travel inside an unencrypted connection.
    fn join_crew(&mut self, stream: &mut Stream, outgoing: &mut Outgoing) {
        let (Some(publication), Some(lane), Some(session)) = (&self.publication, &self.lane, &self.session) else {
            return;
        };
        if self.playing.is_none() {
            return;
        }
        let tcp = |way: &Option<Way>| match way {
            Some(Way::Tcp { rtp, rtcp }) => Some(Some(Way::Tcp { rtp: *rtp, rtcp: *rtcp })),
            Some(Way::Udp(_)) => None,
            None => Some(None),
        };
        let Some(ways) = self.ways.iter().map(tcp).collect::<Option<Ways>>() else {
            return;
        };
        let Some(writer) = stream.lend() else { return };
        let Some(playing) = self.playing.take() else { return };
        let feed = Interleaved {
            playing,
            ways,
            session: Arc::clone(session),
            conn: Arc::clone(&self.conn),
        };
        let hand = Hand {
            writer,
            feed,
            outgoing: outgoing.take(),
            write_timeout: self.shared.write_timeout,
        };
        self.crew = Some(lane.with(|form| form.crews.join(publication, hand)));
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
                Output::Event(event) => {
                    if matches!(event, Event::Paused | Event::Ended | Event::Play { .. }) {
                        self.leave_crew(stream, CloseReason::Ended).await?;
                    }
                    if event.is_question() {
                        self.decide(event, stream, input).await?;
                    } else {
                        self.handle_event(event).await?;
                    }
                }
                Output::Close(reason) => return Err(End::Machine(reason)),
                Output::WaitUntil(deadline) => return Ok(deadline),
            }
        }
    }

    /// Looks for the answer to a question for as long as the client is there: the gate may have to ask others, and a path
    /// be brought online first.
    async fn decide(&mut self, event: Event, stream: &mut Stream, input: &mut BytesMut) -> Result<(), End> {
        let orders = self.orders.clone();
        let until = self.permission.as_ref().and_then(Permission::until);
        tokio::select! {
            biased;
            handled = self.handle_event(event) => handled?,
            gone = stream.gone(input) => return Err(gone.map_or_else(End::Socket, |()| End::Hangup)),
            why = orders.kick() => return Err(End::Kicked(why)),
            () = passed(until) => return Err(End::Stream(CloseReason::Expired)),
        }
        if !input.is_empty() {
            self.conn.inbound_bytes.add(input.len() as u64);
            self.machine.handle_input(Instant::now(), input);
        }
        Ok(())
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

    async fn handle_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Describe(ask) => self.describe(ask).await,
            Event::Announce(ask, description) => self.announce(ask, &description).await,
            Event::Setup(ask, setup) => self.set_up(ask, &setup).await,
            Event::Play { .. } => self.play().await,
            Event::Record => self.record(),
            Event::Paused => {
                self.stop(CloseReason::Ended);
                self.note_state(State::Idle);
            }
            Event::Ended => {
                self.stop(CloseReason::Ended);
                self.ways.clear();
                self.inbox = None;
                self.publication = None;
                self.lane = None;
                self.announced = None;
                *self.conn.session.lock() = None;
                self.session = None;
                self.part(CloseReason::Ended);
            }
            Event::Interleaved { media, rtcp, data } => self.handle_packet(Instant::now(), media, rtcp, &data)?,
        }
        Ok(())
    }

    fn handle_datagram(&mut self, Datagram { media, rtcp, data }: Datagram) -> Result<(), End> {
        let now = Instant::now();
        if let Some(session) = &self.session {
            session.traffic.inbound_bytes.add(data.len() as u64);
        }
        self.machine.handle_udp_activity(now, !rtcp);
        self.handle_packet(now, media, rtcp, &data)
    }

    fn handle_packet(&mut self, now: Instant, media: usize, rtcp: bool, data: &Bytes) -> Result<(), End> {
        if let Some(recording) = &mut self.recording {
            return recording.handle(now, media, rtcp, data);
        }
        if let (true, Some(session)) = (rtcp, &self.session) {
            count_reports(&session.traffic, data, media, &mut self.reported_lost);
        }
        Ok(())
    }

    /// Receiver reports and requests to a publisher, and the counters that go with them.
    async fn report(&mut self, now: Instant, outgoing: &mut Outgoing) -> io::Result<()> {
        let (Some(recording), Some(session)) = (&mut self.recording, &self.session) else {
            return Ok(());
        };
        recording.count(&session.traffic);
        let mut packets = recording.keyframe_requests(now);
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            packets.extend(recording.reports(now));
        }
        for (media, report) in packets {
            if let Some(Some(way)) = self.ways.get(media) {
                session.traffic.outbound_rtcp_packets.add(1);
                send_rtcp(way, report, outgoing).await?;
            }
        }
        Ok(())
    }

    fn note_state(&self, state: State) {
        if let Some(session) = &self.session {
            session.details.lock().state = state;
        }
    }

    fn stop(&mut self, reason: CloseReason) {
        if let Some(playing) = self.playing.take() {
            playing.close(reason);
        }
        if let Some(crew) = self.crew.take() {
            crew.close(reason);
        }
        if let Some(recording) = self.recording.take() {
            recording.close(Instant::now(), reason);
        }
    }

    /// The client is gone; the connection may bring another.
    fn part(&mut self, reason: CloseReason) {
        if let Some(client) = self.client.take() {
            self.shared
                .hub
                .events()
                .emit(|| hub::Event::Disconnected(client, reason));
        }
    }

    fn finish(&mut self, end: End) {
        let path = self
            .permission
            .as_ref()
            .map_or("", |permission| permission.path().as_str());
        let end = if self.recording.is_some() { end } else { end.of_reader() };
        let stage = self.recording.as_ref().and_then(Recording::closed_by_stage);
        let (reason, code) = (end.reason(), end.code());
        if let Some(label) = end.blame() {
            self.shared.registry.count_refused(label);
        }
        let (conn, remote) = (self.conn.id, self.remote);
        let is_hostile = end.is_hostile() && self.shared.complaints.is_due(remote.ip(), code);
        match (&end, stage) {
            (End::Stream(CloseReason::Kicked), Some(stage)) => {
                tracing::warn!(%conn, path, code, "[RTSP] connection closed: {stage}");
            }
            _ if is_hostile => tracing::warn!(%conn, %remote, path, code, "[RTSP] connection closed: {end}"),
            _ => tracing::info!(%conn, path, code, "[RTSP] connection closed: {end}"),
        }
        self.stop(reason);
        self.part(reason);
    }
}

/// Losses that a reader reports (RFC 3550 section 6.4.1), and the reports themselves.
fn count_reports(traffic: &Traffic, data: &Bytes, media: usize, lost_of_media: &mut Vec<u64>) {
    use wasmtx_protocol::rtp::rtcp::{Packet, parse};
    traffic.inbound_rtcp_packets.add(1);
    for packet in parse(data) {
        match packet {
            Ok(Packet::ReceiverReport(_, blocks) | Packet::SenderReport(_, blocks)) => {
                let lost: u64 = blocks.iter().map(|block| u64::try_from(block.lost).unwrap_or(0)).sum();
                if lost_of_media.len() <= media {
                    lost_of_media.resize(media + 1, 0);
                }
                lost_of_media[media] = lost;
                traffic
                    .outbound_rtp_packets_reported_lost
                    .store(lost_of_media.iter().sum());
            }
            Ok(_) => {}
            Err(_) => traffic.inbound_rtcp_packets_in_error.add(1),
        }
    }
}
