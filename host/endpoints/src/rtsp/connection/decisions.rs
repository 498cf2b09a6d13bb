//! What the machine asks, decided: who may, what there is, how it travels.

use std::{sync::Arc, time::Instant};

use uuid::Uuid;
use wasmtx_hub::{
    Access, Action, Client, CloseReason, Denial, Event, PathName, Peer, Protocol, Publication, ReadError,
};
use wasmtx_protocol::{
    rtp::{Delivery, Format},
    rtsp::{
        Status, sdp,
        server::{Ask, Choice, Lane, Offer, Setup},
    },
};

use super::{
    super::{
        access::{RtspProof, denied, unpublishable, unreadable},
        play::{Playing, Way},
        ports,
        record::{Announced, Recording},
        registry::{Details, Session, State, Traffic},
        wire::{RtpForm, medias},
    },
    Driver,
};
use crate::{
    caller::Caller,
    permission::{Permission, Question},
    wall_clock,
};

/// An answer other than yes.
enum Answer {
    Challenge,
    Reject(Status),
    Redirect(String),
}

impl Driver {
    /// Asks the gate, unless it has answered the same question on this connection.
    async fn allow(&mut self, action: Action, ask: Ask) -> Result<PathName, Answer> {
        let question = Question {
            action,
            path: ask.path,
            query: ask.query,
        };
        // Read before the gate is asked: what changes meanwhile makes it be asked again.
        let rules = self.shared.registry.rules();
        let answered = |permission: &&Permission| permission.answers(&question, rules);
        if let Some(permission) = self.permission.as_ref().filter(answered) {
            return Ok(permission.path().clone());
        }
        let path = PathName::new(&question.path).map_err(|_| Answer::Reject(Status::NOT_FOUND))?;
        let caller = Caller {
            protocol: Protocol::Rtsp,
            name: "RTSP",
            conn: self.conn.id,
            remote: self.remote,
        };
        let id = self.client.as_ref().map_or_else(Uuid::new_v4, |known| known.id);
        let mut access = Access {
            action,
            path: Some(path.clone()),
            client: Arc::new(caller.client(id, ask.user_agent, question.query.clone())),
            encrypted: self.encrypted,
            proof: RtspProof::new(ask.credentials, &question.query),
        };
        let asked = caller.ask(&self.shared.hub, &*self.shared.gate, &mut access).await;
        let permit = asked.map_err(|denial| match denial {
            Denial::Credentials => Answer::Challenge,
            denial => Answer::Reject(denied(denial)),
        })?;
        self.slot.welcome();
        let path = permit.path.clone().unwrap_or(path);
        if self.session.is_some() {
            // A further question on the way (another path's DESCRIBE) makes the session neither longer nor another's.
            return Ok(path);
        }
        self.meet(&access.client);
        let permission = Permission::new(Instant::now(), question, access, &permit, path.clone(), rules);
        self.permission = Some(permission);
        Ok(path)
    }

    /// The gate let somebody in: for the first time on this connection, or as somebody else than before.
    fn meet(&mut self, client: &Arc<Client>) {
        let same = |known: &Arc<Client>| known.identity == client.identity && known.tags == client.tags;
        if !self.client.as_ref().is_some_and(same) {
            self.part(CloseReason::Replaced);
            self.shared.hub.events().emit(|| Event::Connected(client.clone()));
        }
        self.client = Some(client.clone());
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

    pub(super) async fn describe(&mut self, ask: Ask) {
        let query = ask.query.clone();
        let described = match self.allow(Action::Read, ask).await {
            Ok(path) => {
                let asker = self.client.as_ref();
                let described = self.shared.hub.describe(Instant::now(), &path, &query, asker).await;
                described.map_err(|error| self.refuse_reading(&path, &error))
            }
            Err(answer) => Err(answer),
        };
        match described {
            Ok(publication) => {
                let formats = Format::of_all(&medias(&publication));
                self.machine
                    .accept_describe(&sdp::Session::describe(publication.path.as_str(), formats));
            }
            Err(answer) => self.answer(answer),
        }
    }

    pub(super) async fn announce(&mut self, ask: Ask, description: &sdp::Session) {
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

    pub(super) async fn set_up(&mut self, ask: Ask, setup: &Setup) {
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
        let has_media = |publication: &Publication| media < medias(publication).len();
        if let Some(publication) = &self.publication {
            return if has_media(publication) {
                Ok(())
            } else {
                Err(Answer::Reject(Status::NOT_FOUND))
            };
        }
        let asker = self.client.as_ref();
        let described = self.shared.hub.describe(Instant::now(), &path, &query, asker).await;
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

    pub(super) async fn play(&mut self) {
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

    pub(super) fn record(&mut self) {
        let (Some(announced), Some(permission), Some(session)) = (&self.announced, &self.permission, &self.session)
        else {
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
            permission.path(),
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
                tracing::info!(conn = %self.conn.id, path = %permission.path(), session = %session.id, tracks = codecs.join(", "), "[RTSP] session is publishing");
                let mut recording = Recording::new(now, publisher, announced, &set_up, delivery, rand::random);
                recording.limit(now, permission.max_bitrate());
                self.recording = Some(recording);
                self.machine.accept_record();
                self.note_state(State::Publish);
            }
            Err(error) => {
                tracing::warn!(conn = %self.conn.id, path = %permission.path(), "[RTSP] cannot publish: {error}");
                let status = unpublishable(&error);
                self.answer(Answer::Reject(status));
            }
        }
    }

    fn open_session(&mut self, path: &PathName, query: &str) {
        if let (None, Some(permission)) = (&self.client, &self.permission) {
            // A further session of the connection is a client of its own.
            let mut client = Client::clone(&permission.access().client);
            client.id = Uuid::new_v4();
            self.meet(&Arc::new(client));
        }
        let Some(client) = &self.client else { return };
        let details = Details {
            state: State::Idle,
            path: path.to_string(),
            query: query.to_owned(),
            user: client.identity.clone().unwrap_or_default(),
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
            orders: self.orders.clone(),
        };
        *self.conn.session.lock() = Some(session.id);
        self.session = Some(self.shared.registry.add_session(session));
    }
}
