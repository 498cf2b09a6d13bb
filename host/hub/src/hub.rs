//! The table of paths.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use wasmtx_media::{Tracks, WallClock};

use crate::{
    Client, CloseReason, Events, Path, PathName, Peer, Publication, Publisher, Reader, Refusal, Role, Rule, Rules,
    path::{Claim, Following},
};

/// Why nobody can publish here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No entry of `paths` matches.
    #[error("no path is configured with this name")]
    NotConfigured,
    /// The path has a source of its own.
    #[error("the path has a source of its own and takes no publisher")]
    NotForPublishers,
    /// Clients publish here, and no resolver's source is looked for now.
    #[error("the path takes publishers, and no source is wanted now")]
    NotForSources,
    /// `overridePublisher` is off.
    #[error("somebody is already publishing on this path")]
    Occupied,
    /// No track, too many, or one without a clock.
    #[error("a stream has 1 to 16 tracks, each with a clock rate")]
    Tracks,
    /// The path went away meanwhile.
    #[error("the path was closed")]
    Gone,
    /// A plugin said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why nobody can read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No entry of `paths` matches.
    #[error("no path is configured with this name")]
    NotConfigured,
    /// Nobody publishes, and nobody will on demand (or did in time).
    #[error("no stream is available on this path")]
    NotPublished,
    /// `maxReaders` is reached.
    #[error("the path has as many readers as it may have")]
    TooManyReaders,
    /// Too many paths are wanted that nobody publishes.
    #[error("too many paths are being asked for")]
    TooManyPaths,
    /// Readers are sent to another place.
    #[error("the stream is at {0}")]
    Redirect(String),
    /// The path went away meanwhile.
    #[error("the path was closed")]
    Gone,
}

/// Paths that exist only because somebody asked for them.
const MAX_WANTED_PATHS: usize = 512;

/// Paths that are remembered as not to be found.
const MAX_UNRESOLVED: usize = 4_096;

/// All paths of the server. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

pub(crate) struct Shared {
    this: Weak<Shared>,
    rules: RwLock<Arc<Rules>>,
    paths: Mutex<HashMap<PathName, Arc<Path>>>,
    /// Those who follow the births of paths. Locked after `paths`.
    created: Mutex<Vec<mpsc::UnboundedSender<Arc<Path>>>>,
    events: Events,
    pub(crate) unresolved: Unresolved,
}

/// Paths whose stream could not be found just now, beyond their own life.
#[derive(Default)]
pub(crate) struct Unresolved(Mutex<HashMap<PathName, Instant>>);

impl Unresolved {
    pub(crate) fn holds(&self, now: Instant, name: &PathName) -> bool {
        self.0.lock().get(name).is_some_and(|until| now < *until)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// Remembers a path until then; when too many are remembered, those that end first make room.
    pub(crate) fn note(&self, name: &PathName, until: Instant) {
        let mut all = self.0.lock();
        if all.len() >= MAX_UNRESOLVED {
            let mut ends: Vec<_> = all.values().copied().collect();
            let (_, middle, _) = ends.select_nth_unstable(MAX_UNRESOLVED / 2);
            let middle = *middle;
            all.retain(|_, until| *until > middle);
        }
        all.insert(name.clone(), until);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("paths", &self.0.paths.lock().len())
            .finish()
    }
}

impl Hub {
    /// An empty hub. The receiver gets every path at its birth: whoever keeps the paths' sources and hooks follows
    /// [`Path::watch`] from then on. Bounded by the number of paths.
    pub fn new() -> (Hub, mpsc::UnboundedReceiver<Arc<Path>>) {
        let (created, births) = mpsc::unbounded_channel();
        let created = Mutex::new(vec![created]);
        let shared = Arc::new_cyclic(|this| Shared {
            this: this.clone(),
            rules: RwLock::default(),
            paths: Mutex::default(),
            created,
            events: Events::default(),
            unresolved: Unresolved::default(),
        });
        (Hub(shared), births)
    }

    /// Every path that there is, and every one to come, at its birth. Bounded by the number of paths.
    pub fn births(&self) -> mpsc::UnboundedReceiver<Arc<Path>> {
        let (created, births) = mpsc::unbounded_channel();
        // Locked throughout: no path is missed, and none comes twice.
        let paths = self.0.paths.lock();
        for path in paths.values() {
            // The receiver is in our hands.
            let _ = created.send(path.clone());
        }
        self.0.created.lock().push(created);
        births
    }

    /// Where everybody notes what happened.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Puts a configuration in force. Paths that no entry matches any more, or whose stream now comes from elsewhere, are
    /// closed; everybody else notices nothing, even where another entry matches now.
    pub fn configure(&self, now: Instant, rules: Rules) {
        let rules = Arc::new(rules);
        *self.0.rules.write() = rules.clone();
        self.0.unresolved.forget_all();
        let mut paths = self.0.paths.lock();
        paths.retain(|name, path| {
            match rules
                .find(name)
                .filter(|(rule, _)| rule.config.role == path.config().role)
            {
                Some((rule, groups)) => {
                    path.reconfigure(Following::new(rule, groups));
                    !path.close_if_unused()
                }
                None => {
                    path.close(CloseReason::Reload);
                    false
                }
            }
        });
        for rule in rules.iter() {
            if let Some(name) = rule.exact()
                && !paths.contains_key(name)
            {
                self.0.create(&mut paths, now, name, rule, Vec::new());
            }
        }
    }

    /// Every path there is, by name.
    pub fn paths(&self) -> Vec<Arc<Path>> {
        let mut paths: Vec<_> = self.0.paths.lock().values().cloned().collect();
        paths.sort_by(|a, b| a.name.cmp(&b.name));
        paths
    }

    /// One path, if it exists now.
    pub fn path(&self, name: &PathName) -> Option<Arc<Path>> {
        self.0.paths.lock().get(name).cloned()
    }

    /// Asks the publisher of a path for a keyframe, as [`Path::request_keyframe`] does.
    pub fn request_keyframe(&self, name: &PathName) -> bool {
        self.path(name).is_some_and(|path| path.request_keyframe())
    }

    /// Whether any entry of `paths` matches the name.
    pub fn is_configured(&self, name: &PathName) -> bool {
        self.0.rules.read().find(name).is_some()
    }

    /// Takes a path as its publisher. `source` is the URL, without credentials, of a stream that the server fetches
    /// itself.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    #[allow(
        clippy::too_many_arguments,
        reason = "the publication's facts; now first, the specific next"
    )]
    pub fn publish(
        &self,
        now: Instant,
        wall: WallClock,
        name: &PathName,
        peer: Peer,
        client: Option<Arc<Client>>,
        source: Option<String>,
        tracks: Tracks,
    ) -> Result<Publisher, PublishError> {
        let is_client = source.is_none();
        let path = self.0.find_or_create(now, name, |rule| match rule.config.role {
            Role::Publisher if is_client => Ok(()),
            Role::Publisher if rule.config.resolver.is_some() => Ok(()),
            Role::Source if !is_client => Ok(()),
            _ => Err(PublishError::NotForPublishers),
        });
        let path = path.ok_or(PublishError::NotConfigured)??;
        path.publish(now, wall, peer, client, source, tracks)
    }

    /// The publication on a path, without becoming its reader. Waits while the path is being brought online on demand, or
    /// while a resolver finds its stream for `client`; without a client none is asked.
    ///
    /// # Errors
    /// [`ReadError`], [`ReadError::Redirect`] among them.
    pub async fn describe(
        &self,
        now: Instant,
        name: &PathName,
        query: &str,
        client: Option<&Arc<Client>>,
    ) -> Result<Arc<Publication>, ReadError> {
        let path = self.wanted(now, name, client.is_some())?;
        let config = path.config();
        match (path.publication(), config.resolver(), client) {
            (Some(publication), ..) => Ok(publication),
            (None, ..) if config.on_demand => path.online(query).await,
            (None, Some(resolver), Some(client)) => path.find(now, resolver, query, client).await,
            _ => Err(ReadError::NotPublished),
        }
    }

    /// Becomes a reader of a path. Waits as [`Hub::describe`] does.
    ///
    /// # Errors
    /// [`ReadError`], [`ReadError::Redirect`] among them.
    pub async fn read(
        &self,
        now: Instant,
        name: &PathName,
        peer: Peer,
        client: Arc<Client>,
    ) -> Result<Reader, ReadError> {
        self.describe(now, name, &client.query, Some(&client)).await?;
        let path = self.path(name).ok_or(ReadError::Gone)?;
        path.read(now, peer, client)
    }

    /// The path, which may come into being for this: when it can be brought online, or its stream be found for somebody.
    fn wanted(&self, now: Instant, name: &PathName, asks: bool) -> Result<Claim, ReadError> {
        if let Some(path) = self.0.claim(name) {
            return match &path.config().role {
                Role::Redirect(target) => Err(ReadError::Redirect(target.clone())),
                _ => Ok(path),
            };
        }
        let hopeless = asks && self.0.unresolved.holds(now, name);
        let wanted = self
            .0
            .paths
            .lock()
            .values()
            .filter(|path| path.is_wanted_only())
            .count();
        let path = self.0.find_or_create(now, name, |rule| match &rule.config.role {
            Role::Redirect(target) => Err(ReadError::Redirect(target.clone())),
            _ if !rule.config.on_demand && (hopeless || !asks || rule.config.resolver().is_none()) => {
                Err(ReadError::NotPublished)
            }
            _ if wanted >= MAX_WANTED_PATHS => Err(ReadError::TooManyPaths),
            _ => Ok(()),
        });
        path.ok_or(ReadError::NotConfigured)?
    }

    /// Ends every publication and sends every reader away.
    pub fn shut_down(&self) {
        for (_, path) in self.0.paths.lock().drain() {
            path.close(CloseReason::Shutdown);
        }
    }
}

impl Shared {
    /// The path of that name, created by its rule when `admit` agrees; `None` when no rule matches.
    fn find_or_create<E>(
        &self,
        now: Instant,
        name: &PathName,
        admit: impl Fn(&Rule) -> Result<(), E>,
    ) -> Option<Result<Claim, E>> {
        let rules = self.rules.read().clone();
        let (rule, groups) = rules.find(name)?;
        if let Err(refused) = admit(rule) {
            return Some(Err(refused));
        }
        let mut paths = self.paths.lock();
        Some(Ok(match paths.get(name) {
            Some(path) => Claim::new(path),
            None => Claim::new(&self.create(&mut paths, now, name, rule, groups)),
        }))
    }

    fn claim(&self, name: &PathName) -> Option<Claim> {
        self.paths.lock().get(name).map(Claim::new)
    }

    fn create(
        &self,
        paths: &mut HashMap<PathName, Arc<Path>>,
        now: Instant,
        name: &PathName,
        rule: &Rule,
        groups: Vec<String>,
    ) -> Arc<Path> {
        let path = Arc::new(Path::new(
            self.this.clone(),
            self.events.clone(),
            name.clone(),
            Following::new(rule, groups),
            now,
        ));
        paths.insert(name.clone(), path.clone());
        // Nobody listens when the server has no keeper (tests): the path works all the same.
        self.created
            .lock()
            .retain(|follower| follower.send(path.clone()).is_ok());
        path
    }

    /// Drops a dynamic path that nobody uses.
    pub(crate) fn forget(&self, name: &PathName) {
        let mut paths = self.paths.lock();
        if paths.get(name).is_some_and(|path| path.close_if_unused()) {
            paths.remove(name);
        }
    }
}
