//! One path: its publisher, its readers, and who waits for it.

mod found;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use wasmtx_media::{Tracks, WallClock};

use crate::{
    Client, CloseReason, Event, Events, Found, Limits, Opening, PathName, Peer, Publication, PublishError, Publisher,
    ReadError, Reader, Resolver, Rule, Stages,
    hub::Shared,
    publication::{same_format, valid},
    reader::Start,
    seat::Seat,
};

/// What holds on a path; the part of a path's configuration that the hub acts on.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct PathConfig {
    /// Where its stream comes from.
    pub role: Role,
    /// Whether a reader may ask for a path that is offline and wait for it (`sourceOnDemand`, `runOnDemand`).
    pub on_demand: bool,
    /// 0: as many as come.
    pub max_readers: usize,
    /// Whether a second publisher replaces the first (`overridePublisher`), or is refused.
    pub override_publisher: bool,
    /// Where a new reader begins.
    pub reader_start: ReaderStart,
    /// How much the ring keeps.
    pub limits: Limits,
    /// Trust the sender's wall clock (`useAbsoluteTimestamp`) instead of estimating by ours.
    pub absolute_timestamp: bool,
    /// Frames that come within this time go out with one write (`writeMergeWindow`); zero: at once.
    pub write_merge_window: Duration,
    /// The plugin chain; `None` when there are no filters.
    pub stages: Option<Arc<dyn Stages>>,
    /// Who is asked for a stream that nobody publishes; only where nothing else brings the path online.
    pub resolver: Option<Arc<dyn Resolver>>,
}

impl PathConfig {
    /// Who is asked where the stream is, if anybody is: only where clients publish.
    pub(crate) fn resolver(&self) -> Option<&Arc<dyn Resolver>> {
        self.resolver.as_ref().filter(|_| self.role == Role::Publisher)
    }
}

impl std::fmt::Debug for PathConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PathConfig")
            .field("role", &self.role)
            .field("on_demand", &self.on_demand)
            .finish_non_exhaustive()
    }
}

/// Where a path's stream comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Clients publish (`source: publisher`).
    #[default]
    Publisher,
    /// The server fetches it (`source: rtsp://…`).
    Source,
    /// Readers are sent elsewhere (`source: redirect`): a URL, or the absolute path of another path.
    Redirect(String),
}

/// Where a new reader begins (`readerStart`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReaderStart {
    /// At the newest keyframe, at once.
    #[default]
    Keyframe,
    /// With the next keyframe to come.
    Live,
}

/// What happened on a path since it exists.
#[derive(Debug, Default)]
pub struct Counters {
    /// Payload bytes published.
    pub inbound_bytes: AtomicU64,
    /// Bytes written to readers; the endpoints count them.
    pub outbound_bytes: AtomicU64,
    /// Frames that the publisher sent and nobody could use.
    pub frames_in_error: AtomicU64,
    /// Frames that readers missed because they were too slow.
    pub frames_discarded: AtomicU64,
}

/// The present state of a path, for those who follow it.
#[derive(Clone, Debug, Default)]
pub struct PathStatus {
    /// What is being published.
    pub publication: Option<Arc<Publication>>,
    /// How many read it.
    pub readers: usize,
    /// How many wait for it to come online.
    pub waiting: usize,
    /// The query of the first one who asked.
    pub query: String,
    /// Where a resolver found the stream. Whoever keeps the path fetches it from there while the path is wanted, and
    /// says so when it does not any more: [`Path::forget_found`].
    pub found: Option<Arc<Found>>,
    /// Counts how often those who waited were sent away.
    pub refusals: u64,
    /// The path is gone for good; its name may belong to a new one.
    pub closed: bool,
}

impl PathStatus {
    /// Whether somebody reads or wants to.
    pub fn wanted(&self) -> bool {
        self.readers + self.waiting > 0
    }
}

/// Names a reader within its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReaderId(u64);

/// One path.
pub struct Path {
    /// Its name.
    pub name: PathName,
    /// What happened so far.
    pub counters: Counters,
    pub(crate) created: Instant,
    following: ArcSwap<Following>,
    hub: Weak<Shared>,
    events: Events,
    stages_changed: AtomicU64,
    state: Mutex<State>,
    status: watch::Sender<PathStatus>,
}

/// The entry of `paths` that a path follows, replaced as one by a reload.
pub(crate) struct Following {
    pub(crate) rule: Arc<str>,
    /// What the groups of the entry's pattern matched.
    pub(crate) groups: Arc<[String]>,
    /// The entry stands for many paths: this one exists only while it is used.
    pub(crate) dynamic: bool,
    pub(crate) config: Arc<PathConfig>,
}

impl Following {
    pub(crate) fn new(rule: &Rule, groups: Vec<String>) -> Following {
        Following {
            rule: rule.name.clone(),
            groups: groups.into(),
            dynamic: rule.exact().is_none(),
            config: rule.config.clone(),
        }
    }
}

#[derive(Default)]
struct State {
    seat: Option<Arc<Seat>>,
    publication: Option<Arc<Publication>>,
    readers: BTreeMap<ReaderId, (Peer, Arc<Client>)>,
    next_reader: u64,
    waiting: usize,
    claims: usize,
    query: String,
    finding: found::Finding,
    generation: u32,
    refusals: u64,
    closed: bool,
    closed_by: Option<String>,
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Path")
            .field("name", &self.name)
            .field("rule", &self.rule())
            .finish_non_exhaustive()
    }
}

impl Path {
    pub(crate) fn new(hub: Weak<Shared>, events: Events, name: PathName, following: Following, now: Instant) -> Path {
        Path {
            name,
            counters: Counters::default(),
            created: now,
            following: ArcSwap::from_pointee(following),
            hub,
            events,
            stages_changed: AtomicU64::new(0),
            state: Mutex::default(),
            status: watch::Sender::default(),
        }
    }

    /// What holds here.
    pub fn config(&self) -> Arc<PathConfig> {
        self.following.load().config.clone()
    }

    /// The key of the entry of `paths` that it follows now.
    pub fn rule(&self) -> Arc<str> {
        self.following.load().rule.clone()
    }

    /// What the groups of that entry's pattern matched.
    pub fn groups(&self) -> Arc<[String]> {
        self.following.load().groups.clone()
    }

    /// Follows the path: online, offline, wanted, gone.
    pub fn watch(&self) -> watch::Receiver<PathStatus> {
        self.status.subscribe()
    }

    /// What is being published now.
    pub fn publication(&self) -> Option<Arc<Publication>> {
        self.state.lock().publication.clone()
    }

    /// Who publishes, as the API names it, while the path is online.
    pub fn source(&self) -> Option<Peer> {
        self.state.lock().seat.as_ref().map(|seat| seat.peer)
    }

    /// Who publishes; `None` when nobody does, or the server itself.
    pub fn publisher(&self) -> Option<Arc<Client>> {
        self.state.lock().seat.as_ref().and_then(|seat| seat.client.clone())
    }

    /// Who reads, as the API names them, in the order they came.
    pub fn readers(&self) -> Vec<Peer> {
        self.state.lock().readers.values().map(|(peer, _)| *peer).collect()
    }

    /// The words of the stage that last closed a publisher here.
    pub fn closed_by_stage(&self) -> Option<String> {
        self.state.lock().closed_by.clone()
    }

    /// Sends everybody away who waits for this path: its source did not start in time.
    pub fn refuse_waiting(&self) {
        let mut state = self.state.lock();
        state.refusals += 1;
        self.tell(&state);
    }

    /// Takes the publisher's path away; its task is told.
    pub fn kick_publisher(&self, reason: CloseReason) {
        if let Some(seat) = &self.state.lock().seat {
            seat.take_away(reason);
        }
    }

    /// Asks the publisher for a keyframe. Answers whether there is a publisher, who may not be able to pass it on.
    pub fn request_keyframe(&self) -> bool {
        let state = self.state.lock();
        if let Some(seat) = &state.seat {
            seat.request_keyframe();
        }
        state.seat.is_some()
    }

    pub(crate) fn keeps_sender_clock(&self) -> bool {
        self.following.load().config.absolute_timestamp
    }

    pub(crate) fn note_closed_by_stage(&self, why: String) {
        self.state.lock().closed_by = Some(why);
    }

    /// Follows an entry from now on, the same as before or another one.
    pub(crate) fn reconfigure(&self, following: Following) {
        if let Some(publication) = &self.state.lock().publication {
            publication.set_limits(following.config.limits.clone());
        }
        if following.config.resolver().is_none() {
            let mut state = self.state.lock();
            if state.finding.found.take().is_some() {
                self.tell(&state);
            }
        }
        let changed = !same_stages(&self.config().stages, &following.config.stages);
        self.following.store(Arc::new(following));
        if changed {
            self.stages_changed.fetch_add(1, Ordering::Release);
        }
    }

    /// Counts how often the path got another chain; a publisher looks at it before every frame.
    pub(crate) fn stages_changed(&self) -> u64 {
        self.stages_changed.load(Ordering::Acquire)
    }

    /// Ends everything here for good.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        state.closed = true;
        if let Some(seat) = state.seat.take() {
            seat.take_away(reason);
        }
        if let Some(publication) = state.publication.take() {
            publication.end(reason);
            self.tell_offline(reason);
        }
        self.tell(&state);
    }

    /// Closes the path if nobody uses it. The caller holds the hub's table, so nobody can find it meanwhile.
    pub(crate) fn close_if_unused(&self) -> bool {
        let mut state = self.state.lock();
        if !self.is_dynamic() || !state.is_unused() {
            return false;
        }
        state.closed = true;
        self.tell(&state);
        true
    }

    fn is_dynamic(&self) -> bool {
        self.following.load().dynamic
    }

    /// Whether the path is here only because somebody asked to read it.
    pub(crate) fn is_wanted_only(&self) -> bool {
        self.is_dynamic() && self.state.lock().seat.is_none()
    }

    fn tell(&self, state: &State) {
        self.status.send_replace(PathStatus {
            publication: state.publication.clone(),
            readers: state.readers.len(),
            waiting: state.waiting,
            query: state.query.clone(),
            found: state.finding.found.clone(),
            refusals: state.refusals,
            closed: state.closed,
        });
    }

    /// Called with the state locked, as its sibling is: the events of a path come in order.
    fn tell_online(&self, opening: &Opening, shown: Tracks) {
        self.events.emit(|| {
            Event::Online(Arc::new(Opening {
                tracks: shown,
                ..opening.clone()
            }))
        });
    }

    fn tell_offline(&self, reason: CloseReason) {
        self.events.emit(|| Event::Offline(self.name.clone(), reason));
    }

    /// Tells the followers and, when nothing is left here, asks the hub to forget the path.
    fn settle(&self, state: MutexGuard<'_, State>) {
        self.tell(&state);
        self.forget_if_unused(state);
    }

    fn forget_if_unused(&self, state: MutexGuard<'_, State>) {
        let unused = self.is_dynamic() && state.is_unused();
        drop(state);
        if unused && let Some(hub) = self.hub.upgrade() {
            hub.forget(&self.name);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the hub's Publish, taken apart")]
    pub(crate) fn publish(
        self: &Arc<Self>,
        now: Instant,
        wall: WallClock,
        peer: Peer,
        client: Option<Arc<Client>>,
        source: Option<String>,
        tracks: Tracks,
    ) -> Result<Publisher, PublishError> {
        if !valid(&tracks) {
            return Err(PublishError::Tracks);
        }
        let stages_seen = self.stages_changed();
        let config = self.config();
        {
            let state = self.state.lock();
            if state.closed {
                return Err(PublishError::Gone);
            }
            if state.seat.is_some() && !config.override_publisher {
                return Err(PublishError::Occupied);
            }
            // A source that nobody looks for any more: a client came to publish.
            if source.is_some() && config.role == Role::Publisher && state.finding.found.is_none() {
                return Err(PublishError::NotForSources);
            }
        }
        // The stage is asked without the lock: guests run in it.
        let mut opening = Opening {
            path: self.name.clone(),
            generation: 0,
            publisher: client.clone(),
            source,
            tracks,
        };
        opening.generation = self.state.lock().generation + 1;
        let mut stage = config
            .stages
            .as_ref()
            .map(|stages| stages.stage(&self.name))
            .transpose()?;
        let shown = match &mut stage {
            Some(stage) => stage.open(now, &opening)?,
            None => opening.tracks.clone(),
        };
        if !valid(&shown) {
            return Err(PublishError::Tracks);
        }

        let seat = Arc::new(Seat::new(peer, client, opening.source.clone()));
        let mut state = self.state.lock();
        if state.closed {
            return Err(PublishError::Gone);
        }
        if opening.source.is_some() && config.role == Role::Publisher && state.finding.found.is_none() {
            return Err(PublishError::NotForSources);
        }
        if let Some(old) = &state.seat {
            if !config.override_publisher {
                return Err(PublishError::Occupied);
            }
            old.take_away(CloseReason::Replaced);
        }
        if opening.source.is_none() {
            state.finding.found = None;
        }
        let running = state.publication.take();
        if running.is_some() {
            self.tell_offline(CloseReason::Replaced);
        }
        let (publication, continues) = match running {
            Some(publication) if same_format(&publication.tracks(), &shown) => {
                publication.ring().write().set_tracks(shown.clone());
                let position = publication.position(now);
                opening.generation = publication.generation;
                (publication, position)
            }
            other => {
                if let Some(old) = other {
                    old.end(CloseReason::Replaced);
                }
                state.generation += 1;
                opening.generation = state.generation;
                let limits = config.limits.clone();
                (
                    Arc::new(Publication::new(
                        self.name.clone(),
                        state.generation,
                        wall,
                        limits,
                        shown.clone(),
                    )),
                    None,
                )
            }
        };
        state.publication = Some(publication.clone());
        state.seat = Some(seat.clone());
        state.closed_by = None;
        self.tell_online(&opening, shown);
        self.tell(&state);
        drop(state);
        Ok(Publisher::new(
            self.clone(),
            seat,
            publication,
            opening,
            (stage, stages_seen),
            continues,
        ))
    }

    /// The tracks changed beyond what readers can follow: a new ring, the old readers are told.
    pub(crate) fn begin_generation(
        &self,
        seat: &Arc<Seat>,
        publication: &mut Arc<Publication>,
        opening: &mut Opening,
        tracks: Tracks,
    ) {
        let mut state = self.state.lock();
        let is_mine = state.seat.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, seat));
        if !is_mine {
            return;
        }
        state.generation += 1;
        opening.generation = state.generation;
        let limits = self.following.load().config.limits.clone();
        let new = Arc::new(Publication::new(
            self.name.clone(),
            state.generation,
            publication.since,
            limits,
            tracks.clone(),
        ));
        publication.end(CloseReason::Replaced);
        self.tell_offline(CloseReason::Replaced);
        self.tell_online(opening, tracks);
        *publication = new.clone();
        state.publication = Some(new);
        self.tell(&state);
    }

    /// A publisher goes; the path is offline unless another has taken it over.
    pub(crate) fn leave(&self, seat: &Arc<Seat>, publication: &Arc<Publication>, reason: CloseReason) {
        let mut state = self.state.lock();
        if !state.seat.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, seat)) {
            return;
        }
        state.seat = None;
        state.publication = None;
        publication.end(reason);
        self.tell_offline(reason);
        self.settle(state);
    }

    pub(crate) fn read(self: &Arc<Self>, now: Instant, peer: Peer, client: Arc<Client>) -> Result<Reader, ReadError> {
        let config = self.config();
        let mut state = self.state.lock();
        if state.closed {
            return Err(ReadError::Gone);
        }
        let Some(publication) = state.publication.clone() else {
            return Err(ReadError::NotPublished);
        };
        if config.max_readers > 0 && state.readers.len() >= config.max_readers {
            return Err(ReadError::TooManyReaders);
        }
        let id = ReaderId(state.next_reader);
        state.next_reader += 1;
        self.events.emit(|| Event::Reading(self.name.clone(), client.clone()));
        state.readers.insert(id, (peer, client));
        self.tell(&state);
        drop(state);
        Ok(Reader::new(
            self.clone(),
            Some(id),
            publication,
            now,
            Start::At(config.reader_start),
        ))
    }

    /// Reads what is being published now without becoming one of the readers: listed nowhere, counted nowhere, no reason to
    /// keep a source going. For what belongs to the path itself, as its sinks do. Begins `back` in the past: at the newest GOP
    /// start that is so old, or at the oldest that is left; how much that is, [`Limits::keep_back`] says. With zero it begins as a
    /// reader does, at the newest keyframe.
    pub fn attend(self: &Arc<Self>, now: Instant, back: Duration) -> Option<(Opening, Reader)> {
        let state = self.state.lock();
        let (publication, seat) = (state.publication.clone()?, state.seat.as_ref()?);
        let opening = Opening {
            path: self.name.clone(),
            generation: publication.generation,
            publisher: seat.client.clone(),
            source: seat.source.clone(),
            tracks: publication.tracks(),
        };
        drop(state);
        let start = match back {
            Duration::ZERO => Start::At(ReaderStart::Keyframe),
            back => Start::Back(back),
        };
        Some((opening, Reader::new(self.clone(), None, publication, now, start)))
    }

    pub(crate) fn forget_reader(&self, id: ReaderId, reason: CloseReason) {
        let mut state = self.state.lock();
        if let Some((_, client)) = state.readers.remove(&id) {
            self.events.emit(|| Event::ReadEnded(self.name.clone(), client, reason));
        }
        self.settle(state);
    }

    /// Waits until the path is online. Whoever keeps the path sees that somebody waits, starts its source, and sends
    /// the waiting away when it does not come.
    pub(crate) async fn online(self: &Arc<Self>, query: &str) -> Result<Arc<Publication>, ReadError> {
        let mut status = self.watch();
        let before = status.borrow_and_update().refusals;
        let _waiting = Waiting::new(self, query);
        let news = status
            .wait_for(|s| s.publication.is_some() || s.closed || s.refusals != before)
            .await;
        let Ok(status) = news else { return Err(ReadError::Gone) };
        match &status.publication {
            Some(publication) => Ok(publication.clone()),
            None if status.closed => Err(ReadError::Gone),
            None => Err(ReadError::NotPublished),
        }
    }
}

impl State {
    fn is_unused(&self) -> bool {
        self.seat.is_none() && self.readers.is_empty() && self.waiting == 0 && self.claims == 0
    }
}

/// Somebody is about to use the path: it is not forgotten meanwhile. Made while the hub's table is locked, so that the path
/// cannot go between being found and being used.
pub(crate) struct Claim(Arc<Path>);

impl Claim {
    pub(crate) fn new(path: &Arc<Path>) -> Claim {
        path.state.lock().claims += 1;
        Claim(path.clone())
    }
}

impl std::ops::Deref for Claim {
    type Target = Arc<Path>;
    fn deref(&self) -> &Arc<Path> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.claims -= 1;
        self.0.forget_if_unused(state);
    }
}

/// Somebody waits for the path, for as long as this lives.
struct Waiting<'a>(&'a Arc<Path>);

impl<'a> Waiting<'a> {
    fn new(path: &'a Arc<Path>, query: &str) -> Waiting<'a> {
        let mut state = path.state.lock();
        if state.waiting == 0 && state.readers.is_empty() {
            query.clone_into(&mut state.query);
        }
        state.waiting += 1;
        path.tell(&state);
        Waiting(path)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting -= 1;
        self.0.settle(state);
    }
}

impl Counters {
    /// A counter's value.
    pub fn load(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Whether two configurations mean the very same chain.
fn same_stages(old: &Option<Arc<dyn Stages>>, new: &Option<Arc<dyn Stages>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}
