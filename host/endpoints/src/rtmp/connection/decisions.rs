//! What the machine asks, decided: who may, what there is, which tracks.

use std::{sync::Arc, time::Instant};

use wasmtx_hub::{Access, Action, CloseReason, Denial, Event, PathName, Peer, Protocol, ReadError};
use wasmtx_protocol::{
    flv::{Capabilities, Choice},
    rtmp::server::{Ask, Rejection},
};

use super::{
    super::{
        form::RtmpForm,
        publish::{Place, Recording},
        registry::{Conn, State},
    },
    Driver,
};
use crate::{
    caller::Caller,
    http::Credentials,
    permission::{Permission, Question},
    tcp::Follower,
};

impl Driver {
    /// Asks the gate.
    async fn allow(&mut self, action: Action, ask: Ask) -> Result<PathName, Rejection> {
        let question = Question {
            action,
            path: ask.path,
            query: ask.query,
        };
        // Read before the gate is asked: what changes meanwhile makes it be asked again.
        let rules = self.shared.registry.rules();
        let not_found = || Rejection::NotFound("no such stream".to_owned());
        let path = PathName::new(&question.path).map_err(|error| {
            tracing::info!(conn = %self.conn.id, code = "name", "[RTMP] not a path name: {error}");
            not_found()
        })?;
        let caller = Caller {
            protocol: Protocol::Rtmp,
            name: "RTMP",
            conn: self.conn.id,
            remote: self.conn.remote,
        };
        let agent = Some(ask.flash_version).filter(|version| !version.is_empty());
        let client = caller.client(self.conn.id, agent, question.query.clone());
        let mut access = Access {
            action,
            path: Some(path.clone()),
            client: Arc::new(client),
            encrypted: self.conn.encrypted,
            proof: Arc::new(Credentials::of_query(&question.query)),
        };
        let asked = caller.ask(&self.shared.hub, &*self.shared.gate, &mut access).await;
        let permit = asked.map_err(|denial| match denial {
            Denial::Credentials => Rejection::Denied("authentication failed".to_owned()),
            Denial::NotAllowed => Rejection::Denied("not allowed".to_owned()),
            Denial::NotFound => not_found(),
            Denial::TooMany => Rejection::Failed("too many attempts or sessions".to_owned()),
            Denial::Later => Rejection::Failed("try again later".to_owned()),
        })?;
        self.slot.welcome();
        let path = permit.path.clone().unwrap_or(path);
        {
            let mut details = self.conn.details.lock();
            details.path = path.to_string();
            details.query.clone_from(&question.query);
            details.user = permit.identity.clone().unwrap_or_default();
            details.user_agent = access.client.agent.clone().unwrap_or_default();
        }
        self.shared
            .hub
            .events()
            .emit(|| Event::Connected(access.client.clone()));
        self.client = Some(access.client.clone());
        let permission = Permission::new(Instant::now(), question, access, &permit, path.clone(), rules);
        self.permission = Some(permission);
        Ok(path)
    }

    pub(super) fn peer(&self) -> Peer {
        Peer {
            kind: self.kind(),
            id: self.conn.id,
        }
    }

    pub(super) async fn publish(&mut self, ask: Ask) {
        match self.prepare_publishing(ask).await {
            Ok(recording) => {
                self.recording = Some(Box::new(recording));
                self.machine.accept_publish();
            }
            Err(rejection) => self.machine.reject(&rejection),
        }
    }

    async fn prepare_publishing(&mut self, ask: Ask) -> Result<Recording, Rejection> {
        let path = self.allow(Action::Publish, ask).await?;
        if !self.shared.hub.is_configured(&path) {
            tracing::info!(conn = %self.conn.id, %path, "[RTMP] cannot publish: no path is configured with this name");
            return Err(Rejection::NotFound("no such path".to_owned()));
        }
        let occupied = self
            .shared
            .hub
            .path(&path)
            .filter(|path| path.source().is_some() && !path.config().override_publisher);
        if occupied.is_some() {
            tracing::warn!(conn = %self.conn.id, %path, "[RTMP] somebody is already publishing on this path");
            return Err(Rejection::InUse("somebody is already publishing".to_owned()));
        }
        let (Some(client), Some(permission)) = (&self.client, &self.permission) else {
            return Err(Rejection::Failed("not known".to_owned()));
        };
        let now = Instant::now();
        let place = Place {
            path,
            peer: self.peer(),
            client: client.clone(),
        };
        let mut recording = Recording::new(now, self.shared.hub.clone(), place);
        recording.limit(now, permission.max_bitrate());
        Ok(recording)
    }

    pub(super) async fn play(&mut self, ask: Ask) {
        let can = &ask.capabilities;
        self.capabilities = if can.is_enhanced() {
            Capabilities::enhanced(|four_cc| can.carries(four_cc), can.multitrack())
        } else {
            Capabilities::legacy()
        };
        let played = match self.allow(Action::Read, ask).await {
            Ok(path) => self.read(&path).await,
            Err(rejection) => Err(rejection),
        };
        match played {
            Ok(()) => self.machine.accept_play(),
            Err(rejection) => self.machine.reject(&rejection),
        }
    }

    /// Begins to read, or to read again after a pause.
    pub(super) async fn read(&mut self, path: &PathName) -> Result<(), Rejection> {
        let Some(client) = self.client.clone() else {
            return Err(Rejection::Failed("not known".to_owned()));
        };
        let conn = &self.conn;
        let reader = self.shared.hub.read(Instant::now(), path, self.peer(), client).await;
        let mut reader = reader.map_err(|error| {
            tracing::info!(conn = %conn.id, %path, "[RTMP] cannot read: {error}");
            match error {
                ReadError::TooManyReaders | ReadError::TooManyPaths => Rejection::Failed("too many readers".to_owned()),
                _ => Rejection::NotFound("no such stream".to_owned()),
            }
        })?;
        let publication = reader.publication().clone();
        let choice = Choice::of(&publication.tracks(), &self.capabilities);
        let left_out = choice.left_out.join(", ");
        if choice.tracks.is_empty() {
            tracing::warn!(conn = %conn.id, %path, code = "tracks", "[RTMP] cannot read: the player can play none of {left_out}");
            reader.close(CloseReason::Other);
            return Err(Rejection::Failed("no track that this player can play".to_owned()));
        }
        if !left_out.is_empty() {
            tracing::info!(conn = %conn.id, %path, code = "tracks", "[RTMP] the player did not say that it takes them, so it is not given: {left_out}");
        }
        let ids: Vec<_> = choice.tracks.iter().map(|track| track.id).collect();
        reader.take(&ids);
        let lane = publication.lane_of(choice.variant(), |_| RtmpForm::new(&choice.tracks));
        let codecs: Vec<&str> = choice.tracks.iter().map(|track| track.codec.name()).collect();
        tracing::info!(conn = %conn.id, %path, tracks = codecs.join(", "), "[RTMP] connection is reading");
        let tally: Arc<Conn> = Arc::clone(conn);
        self.playing = Some(Follower::new(reader, lane, tally));
        self.note_state(State::Read);
        Ok(())
    }
}
