//! One RTSP connection: the loop that owns the socket, and the decisions that the machine asks for.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use uuid::Uuid;
use wasmtx_hub::{
    Access, Action, Client, CloseReason, Decision, Denial, PathName, Peer, Permit, Protocol, Publication, ReadError,
};
use wasmtx_protocol::{
    rtp::{Delivery, Format},
    rtsp::{
        Status, sdp,
        server::{self, Ask, Choice, Event, Lane, Offer, Output, Reason, Setup},
    },
};

use super::{
    access::{RtspProof, denied, unpublishable, unreadable},
    crew::{Hand, Membership, Over},
    play::{Playing, Way, Ways, send_rtcp},
    ports::{self, Address, Datagram, Inbox},
    record::{Announced, Recording},
    registry::{Conn, Details, Listed, Session, State, Traffic},
    server::Shared,
    stream::{Io, Outgoing, Stream},
    wire::RtpForm,
};
use crate::{admission::Slot, wall_clock};

/// Time between two receiver reports of a media.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Why a connection is over.
pub(super) enum End {
    /// The socket is gone.
    Socket(io::Error),
    /// The peer closed its side.
    Hangup,
    /// The machine closes.
    Machine(Reason),
    /// The stream is over, or the server or the operator ends the session.
    Stream(CloseReason),
}

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
    kick: Arc<Notify>,
    allowed: Option<Allowed>,
    client: Option<Arc<Client>>,
    announced: Option<Announced>,
    publication: Option<Arc<Publication>>,
    /// Held from SETUP on: the source that SETUP announces is the one that PLAY sends.
    lane: Option<Arc<wasmtx_hub::Lane<RtpForm>>>,
    ways: Ways,
    playing: Option<Playing>,
    /// Who writes for this reader, when it is not its own task.
    crew: Option<Membership>,
    recording: Option<Recording>,
    next_report: Instant,
    /// What the reader says that it lost, by media.
    reported_lost: Vec<u64>,
    inbox: Option<(Address, Inbox)>,
}

/// What the gate said, for as long as the connection asks the same.
struct Allowed {
    action: Action,
    asked: String,
    query: String,
    path: PathName,
    until: Option<Instant>,
}

pub(super) async fn serve(
    shared: Arc<Shared>,
    mut stream: Stream,
    slot: Slot,
    [local, remote]: [SocketAddr; 2],
    encrypted: bool,
    stop: watch::Receiver<bool>,
) -> End {
    let now = Instant::now();
    let kick = Arc::new(Notify::new());
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
        kick: kick.clone(),
        allowed: None,
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
    let end = driver.run(&mut stream, &kick, stop).await;
    driver.finish(&end);
    end
}

impl Driver {
    async fn run(&mut self, stream: &mut Stream, kick: &Notify, mut stop: watch::Receiver<bool>) -> End {
        let kicked = kick.notified();
        tokio::pin!(kicked);
        let timer = tokio::time::sleep_until(Instant::now().into());
        tokio::pin!(timer);
        let mut input = BytesMut::new();
        let mut outgoing = Outgoing::default();
        let mut stalled_since = None;
        loop {
            let machine_deadline = match self.drain_machine(stream, &mut outgoing).await {
                Ok(deadline) => deadline,
                Err(end) => {
                    // The last answer should still reach the peer, but not at any price.
                    let _ = tokio::time::timeout(Duration::from_secs(1), stream.finish(&mut outgoing)).await;
                    return end;
                }
            };
            let now = Instant::now();
            if let Some(crew) = &self.crew {
                if !outgoing.is_empty() {
                    crew.answer(outgoing.take());
                }
            } else {
                self.join_crew(stream, &mut outgoing);
            }
            let mut ended = None;
            if outgoing.is_empty()
                && let (Some(playing), Some(session)) =
                    (self.playing.as_mut().filter(|playing| playing.is_due()), &self.session)
            {
                match playing.fill(now, &self.ways, &mut outgoing, &session.traffic).await {
                    Ok(reason) => ended = reason,
                    Err(error) => return End::Socket(error),
                }
            }
            if let Err(error) = self.report(now, &mut outgoing).await {
                return End::Socket(error);
            }
            if !outgoing.is_empty() {
                match stream.write_now(&mut outgoing).await {
                    Ok(0) => stalled_since = stalled_since.or(Some(now)),
                    Ok(written) => {
                        self.conn.outbound_bytes.add(written as u64);
                        stalled_since = (!outgoing.is_empty()).then_some(now);
                    }
                    Err(error) => return End::Socket(error),
                }
            }
            if let Some(reason) = ended {
                let _ = tokio::time::timeout(Duration::from_secs(1), stream.finish(&mut outgoing)).await;
                return End::Stream(reason);
            }
            if stalled_since.is_some_and(|since| now.duration_since(since) >= self.shared.write_timeout) {
                return End::Stream(CloseReason::TooSlow);
            }
            let stall = stalled_since.map(|since| since + self.shared.write_timeout);
            let recording = self.recording.as_ref().and_then(Recording::deadline);
            let expiry = self.allowed.as_ref().and_then(|allowed| allowed.until);
            let deadline = [stall, recording, expiry]
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
                io = stream.ready(&mut input, may_ask, media, &mut outgoing) => match io {
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
                        let _ = tokio::time::timeout(Duration::from_secs(1), stream.finish(&mut outgoing)).await;
                        return End::Stream(reason);
                    }
                }
                datagram = receive(&mut self.inbox) => {
                    if let Err(end) = self.handle_datagram(datagram) {
                        return end;
                    }
                }
                reason = replaced(&mut self.recording) => return End::Stream(reason),
                () = &mut kicked => return End::Stream(CloseReason::Kicked),
                () = stopping(&mut stop), if may_go => return End::Stream(CloseReason::Shutdown),
                () = &mut timer => {
                    let now = Instant::now();
                    if expiry.is_some_and(|expiry| now >= expiry) {
                        return End::Stream(CloseReason::Expired);
                    }
                    self.machine.handle_timeout(now);
                    if let Some(recording) = &mut self.recording
                        && let Err(reason) = recording.handle_timeout(now)
                    {
                        return End::Stream(reason);
                    }
                }
            }
        }
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
        let hand = Hand {
            writer,
            playing,
            ways,
            outgoing: outgoing.take(),
            session: Arc::clone(session),
            conn: Arc::clone(&self.conn),
            write_timeout: self.shared.write_timeout,
        };
        self.crew = Some(lane.with(|form| form.crews.join(publication, hand)));
    }

    /// Does what the machine says until it waits.
    async fn drain_machine(&mut self, stream: &mut Stream, outgoing: &mut Outgoing) -> Result<Instant, End> {
        loop {
            match self.machine.poll() {
                Output::Send(bytes) => outgoing.push_answer(bytes),
                Output::Event(event) => {
                    if matches!(event, Event::Paused | Event::Ended | Event::Play { .. }) {
                        self.leave_crew(stream).await?;
                    }
                    self.handle_event(event).await?;
                }
                Output::Close(reason) => return Err(End::Machine(reason)),
                Output::WaitUntil(deadline) => return Ok(deadline),
            }
        }
    }

    /// Takes the writing half back, once the crew has written what it had begun.
    async fn leave_crew(&mut self, stream: &mut Stream) -> Result<(), End> {
        let Some(crew) = self.crew.take() else { return Ok(()) };
        match crew.leave().await {
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
            }
            Event::Interleaved { media, rtcp, data } => self.handle_packet(Instant::now(), media, rtcp, &data)?,
        }
        Ok(())
    }

    /// Asks the gate, unless it has answered the same question on this connection.
    async fn allow(&mut self, action: Action, ask: Ask) -> Result<PathName, Answer> {
        let same =
            |allowed: &&Allowed| allowed.action == action && allowed.asked == ask.path && allowed.query == ask.query;
        if let Some(allowed) = self.allowed.as_ref().filter(same) {
            return Ok(allowed.path.clone());
        }
        let path = PathName::new(&ask.path).map_err(|_| Answer::Reject(Status::NOT_FOUND))?;
        let client = Arc::new(Client {
            id: Uuid::new_v4(),
            protocol: Protocol::Rtsp,
            address: self.remote.ip(),
            agent: ask.user_agent,
            query: ask.query.clone(),
            extra: vec![("port".to_owned(), self.remote.port().to_string())],
        });
        let proof = RtspProof::new(ask.credentials, &ask.query);
        let access = Access {
            action,
            path: Some(path.clone()),
            client: client.clone(),
            encrypted: self.encrypted,
            proof: proof.clone(),
        };
        let permit = match self.shared.gate.check(&access).await {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => {
                use wasmtx_hub::Proof;
                if proof.is_some() || denial != Denial::Credentials {
                    tracing::warn!(conn = %self.conn.id, remote = %self.remote, %path, code = "denied", ?denial, "[RTSP] access refused");
                }
                let challenge = denial == Denial::Credentials;
                return Err(if challenge {
                    Answer::Challenge
                } else {
                    Answer::Reject(denied(denial))
                });
            }
        };
        self.slot.welcome();
        let Permit {
            identity,
            lasts,
            path: rewritten,
            tags,
            ..
        } = permit;
        let mut until = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        if self.session.is_some() {
            // A further question on the way (another path's DESCRIBE) makes the session neither longer nor another's.
            until = until
                .into_iter()
                .chain(self.allowed.as_ref().and_then(|allowed| allowed.until))
                .min();
        } else {
            let mut client = Arc::unwrap_or_clone(client);
            client.extra.extend(tags);
            client
                .extra
                .extend(identity.map(|identity| ("user".to_owned(), identity)));
            self.client = Some(Arc::new(client));
        }
        let path = rewritten.unwrap_or(path);
        self.allowed = Some(Allowed {
            action,
            asked: ask.path,
            query: ask.query,
            path: path.clone(),
            until,
        });
        Ok(path)
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Challenge => self.machine.challenge(),
            Answer::Reject(status) => self.machine.reject(status, &[]),
            Answer::Redirect(location) => self.machine.redirect(&location),
        }
    }

    fn refuse_reading(&self, path: &PathName, error: &ReadError) -> Answer {
        match error {
            ReadError::Redirect(target) if target.contains("://") => Answer::Redirect(target.clone()),
            ReadError::Redirect(target) => {
                let scheme = if self.encrypted { "rtsps" } else { "rtsp" };
                Answer::Redirect(format!("{scheme}://{}/{}", self.local, target.trim_start_matches('/')))
            }
            error => {
                tracing::info!(conn = %self.conn.id, %path, "[RTSP] cannot read: {error}");
                Answer::Reject(unreadable(error))
            }
        }
    }

    async fn describe(&mut self, ask: Ask) {
        let query = ask.query.clone();
        let described = match self.allow(Action::Read, ask).await {
            Ok(path) => {
                let described = self.shared.hub.describe(Instant::now(), &path, &query).await;
                described.map_err(|error| self.refuse_reading(&path, &error))
            }
            Err(answer) => Err(answer),
        };
        match described {
            Ok(publication) => {
                let formats = Format::of_all(&publication.tracks());
                self.machine
                    .accept_describe(&sdp::Session::describe(publication.path.as_str(), formats));
            }
            Err(answer) => self.answer(answer),
        }
    }

    async fn announce(&mut self, ask: Ask, description: &sdp::Session) {
        let query = ask.query.clone();
        let path = match self.allow(Action::Publish, ask).await {
            Ok(path) => path,
            Err(answer) => return self.answer(answer),
        };
        let announced = Announced::new(description);
        if !(0..description.medias.len()).any(|media| announced.has(media)) {
            return self.answer(Answer::Reject(Status::UNSUPPORTED_MEDIA_TYPE));
        }
        if !self.shared.hub.is_configured(&path) {
            tracing::info!(conn = %self.conn.id, %path, "[RTSP] cannot publish: no path is configured with this name");
            return self.answer(Answer::Reject(Status::NOT_FOUND));
        }
        let occupied = self
            .shared
            .hub
            .path(&path)
            .filter(|path| path.source().is_some() && !path.config().override_publisher);
        if occupied.is_some() {
            tracing::warn!(conn = %self.conn.id, %path, "[RTSP] somebody is already publishing on this path");
            return self.answer(Answer::Reject(Status::FORBIDDEN));
        }
        self.announced = Some(announced);
        self.open_session(&path, &query);
        self.machine.accept_announce();
    }

    async fn set_up(&mut self, ask: Ask, setup: &Setup) {
        let media = setup.media;
        let transports = self.shared.transports;
        let ports = self.shared.ports.clone().and_then(|ports| {
            let numbers = ports.numbers().ok()?;
            Some((ports, numbers))
        });
        let choice = setup.offers.iter().find_map(|offer| match (*offer, &ports) {
            (Offer::Tcp, _) if transports.tcp => Some(Choice::Tcp),
            // Datagrams beside an encrypted connection would show what it hides.
            (Offer::Udp { .. }, Some((_, (rtp, rtcp)))) if transports.udp && !self.encrypted => Some(Choice::Udp {
                server_rtp: *rtp,
                server_rtcp: *rtcp,
            }),
            _ => None,
        });
        let Some(choice) = choice else {
            return self.answer(Answer::Reject(Status::UNSUPPORTED_TRANSPORT));
        };
        if !setup.publish {
            if let Err(answer) = self.prepare_reading(ask, media).await {
                return self.answer(answer);
            }
        } else if !self.announced.as_ref().is_some_and(|announced| announced.has(media)) {
            return self.answer(Answer::Reject(Status::UNSUPPORTED_MEDIA_TYPE));
        }
        let ssrc = self.lane.as_ref().and_then(|lane| lane.with(|form| form.ssrc(media)));
        self.machine.accept_setup(choice, ssrc);
        let Some(lane) = self.machine.lane(media) else { return };
        let way = match (lane, ports) {
            (Lane::Tcp { rtp, rtcp }, _) => Way::Tcp { rtp, rtcp },
            (Lane::Udp { rtp, rtcp }, Some((ports, _))) => {
                let (address, _) = self.inbox.get_or_insert_with(ports::inbox);
                Way::Udp(ports.deliver(self.remote.ip(), rtp, rtcp, media, address))
            }
            _ => return,
        };
        if self.ways.len() <= media {
            self.ways.resize_with(media + 1, || None);
        }
        let transport = if matches!(way, Way::Udp(_)) { "UDP" } else { "TCP" };
        self.ways[media] = Some(way);
        if let Some(session) = &self.session {
            let mut details = session.details.lock();
            details.transport = Some(transport);
            details.profile = Some("AVP");
        }
    }

    async fn prepare_reading(&mut self, ask: Ask, media: usize) -> Result<(), Answer> {
        let query = ask.query.clone();
        let path = self.allow(Action::Read, ask).await?;
        let has_media = |publication: &Publication| media < publication.tracks().len();
        if let Some(publication) = &self.publication {
            return if has_media(publication) {
                Ok(())
            } else {
                Err(Answer::Reject(Status::NOT_FOUND))
            };
        }
        let described = self.shared.hub.describe(Instant::now(), &path, &query).await;
        let publication = described.map_err(|error| self.refuse_reading(&path, &error))?;
        if !has_media(&publication) {
            return Err(Answer::Reject(Status::NOT_FOUND));
        }
        let mtu = self.shared.udp_max_payload;
        self.lane = Some(publication.lane(|publication| RtpForm::new(publication, mtu, rand::random)));
        self.publication = Some(publication);
        self.open_session(&path, &query);
        Ok(())
    }

    async fn play(&mut self) {
        let (Some(publication), Some(client), Some(session)) = (&self.publication, &self.client, &self.session) else {
            return self.answer(Answer::Reject(Status::METHOD_NOT_VALID_IN_THIS_STATE));
        };
        let now = Instant::now();
        let peer = Peer {
            kind: self.shared.kind(self.encrypted),
            id: session.id,
        };
        let reader = match self.shared.hub.read(now, &publication.path, peer, client.clone()).await {
            Ok(reader) => reader,
            Err(error) => {
                let answer = self.refuse_reading(&publication.path, &error);
                return self.answer(answer);
            }
        };
        if !Arc::ptr_eq(reader.publication(), publication) {
            // Published anew since SETUP: the client must look at the new description.
            return self.answer(Answer::Reject(Status::SESSION_NOT_FOUND));
        }
        let Some(lane) = self.lane.clone() else {
            return self.answer(Answer::Reject(Status::METHOD_NOT_VALID_IN_THIS_STATE));
        };
        let mut playing = Playing::new(now, reader, lane);
        let infos = playing.begin(&self.ways);
        tracing::info!(conn = %self.conn.id, path = %playing.reader().path().name, session = %session.id, "[RTSP] session is reading");
        self.playing = Some(playing);
        self.machine.accept_play(&infos, None);
        self.note_state(State::Read);
    }

    fn record(&mut self) {
        let (Some(announced), Some(allowed), Some(session)) = (&self.announced, &self.allowed, &self.session) else {
            return self.answer(Answer::Reject(Status::METHOD_NOT_VALID_IN_THIS_STATE));
        };
        let set_up: Vec<usize> = (0..self.ways.len())
            .filter(|media| self.ways[*media].is_some())
            .collect();
        let tracks = announced.tracks(&set_up);
        let codecs: Vec<&str> = tracks.iter().map(|track| track.codec.name()).collect();
        let peer = Peer {
            kind: self.shared.kind(self.encrypted),
            id: session.id,
        };
        let now = Instant::now();
        match self.shared.hub.publish(
            now,
            wall_clock(),
            &allowed.path,
            peer,
            self.client.clone(),
            None,
            tracks.clone(),
        ) {
            Ok(publisher) => {
                let over_udp = self.ways.iter().flatten().any(|way| matches!(way, Way::Udp(_)));
                let delivery = if over_udp {
                    Delivery::Datagrams
                } else {
                    Delivery::Ordered
                };
                tracing::info!(conn = %self.conn.id, path = %allowed.path, session = %session.id, tracks = codecs.join(", "), "[RTSP] session is publishing");
                self.recording = Some(Recording::new(publisher, announced, &set_up, delivery, rand::random));
                self.machine.accept_record();
                self.note_state(State::Publish);
            }
            Err(error) => {
                tracing::warn!(conn = %self.conn.id, path = %allowed.path, "[RTSP] cannot publish: {error}");
                let status = unpublishable(&error);
                self.answer(Answer::Reject(status));
            }
        }
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
            return recording.handle(now, media, rtcp, data).map_err(End::Stream);
        }
        if let (true, Some(session)) = (rtcp, &self.session) {
            count_reports(&session.traffic, data, media, &mut self.reported_lost);
        }
        Ok(())
    }

    /// Receiver reports to a publisher, and the counters that go with them.
    async fn report(&mut self, now: Instant, outgoing: &mut Outgoing) -> io::Result<()> {
        let (Some(recording), Some(session)) = (&mut self.recording, &self.session) else {
            return Ok(());
        };
        recording.count(&session.traffic);
        if now < self.next_report {
            return Ok(());
        }
        self.next_report = now + REPORT_EVERY;
        for (media, report) in recording.reports(now) {
            if let Some(Some(way)) = self.ways.get(media) {
                session.traffic.outbound_rtcp_packets.add(1);
                send_rtcp(way, report, outgoing).await?;
            }
        }
        Ok(())
    }

    fn open_session(&mut self, path: &PathName, query: &str) {
        let Some(client) = &self.client else { return };
        let user = client
            .extra
            .iter()
            .find(|(key, _)| key == "user")
            .map_or("", |(_, user)| user);
        let details = Details {
            state: State::Idle,
            path: path.to_string(),
            query: query.to_owned(),
            user: user.to_owned(),
            user_agent: client.agent.clone().unwrap_or_default(),
            transport: None,
            profile: None,
        };
        let session = Session {
            id: client.id,
            created: wall_clock(),
            remote: self.remote,
            encrypted: self.encrypted,
            conn: self.conn.id,
            details: details.into(),
            traffic: Traffic::default(),
            kick: self.kick.clone(),
        };
        *self.conn.session.lock() = Some(session.id);
        self.session = Some(self.shared.registry.add_session(session));
    }

    fn note_state(&self, state: State) {
        if let Some(session) = &self.session {
            session.details.lock().state = state;
        }
    }

    fn stop(&mut self, reason: CloseReason) {
        self.playing = None;
        if let Some(recording) = self.recording.take() {
            recording.close(Instant::now(), reason);
        }
    }

    fn finish(&mut self, end: &End) {
        let path = self
            .allowed
            .as_ref()
            .map(|allowed| allowed.path.to_string())
            .unwrap_or_default();
        let (reason, code, why) = match end {
            // Players that quit leave bytes unread: their system resets the connection.
            End::Socket(error) if self.recording.is_none() && error.kind() == io::ErrorKind::ConnectionReset => {
                (CloseReason::Ended, "hangup", "closed by the client".to_owned())
            }
            End::Socket(error) => (CloseReason::Failed, "socket", error.to_string()),
            End::Hangup => (CloseReason::Ended, "hangup", "closed by the client".to_owned()),
            End::Machine(reason) => (CloseReason::Timeout, self.shared.blame(reason), reason.to_string()),
            End::Stream(reason) => (*reason, "stream", reason.to_string()),
        };
        self.stop(reason);
        let conn = self.conn.id;
        match end {
            End::Machine(Reason::Malformed(_) | Reason::Pipeline | Reason::UnknownChannels)
                if self.shared.may_log(self.remote.ip(), code) =>
            {
                tracing::warn!(%conn, remote = %self.remote, path, code, "[RTSP] connection closed: {why}");
            }
            _ => tracing::info!(%conn, path, code, "[RTSP] connection closed: {why}"),
        }
    }
}

/// An answer other than yes.
enum Answer {
    Challenge,
    Reject(Status),
    Redirect(String),
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

/// Resolves when the reader has something to take; never without a reader.
async fn news(playing: &mut Option<Playing>) {
    match playing {
        Some(playing) => playing.news().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the crew no longer writes for this reader; never without a crew.
async fn over(crew: &mut Option<Membership>) -> Over {
    match crew {
        Some(crew) => crew.over().await,
        None => std::future::pending().await,
    }
}

async fn receive(inbox: &mut Option<(Address, Inbox)>) -> Datagram {
    match inbox {
        // The session holds a sender, so the channel is open.
        Some((_, inbox)) => match inbox.recv().await {
            Some(datagram) => datagram,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Resolves when the server stops, or is gone.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn replaced(recording: &mut Option<Recording>) -> CloseReason {
    match recording {
        Some(recording) => recording.replaced().await,
        None => std::future::pending().await,
    }
}
