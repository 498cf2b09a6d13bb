//! Auth plugins: asked off the media path, on fibers, and closed when they do not answer.
//!
//! One call has one instance to itself; between calls instances wait in a [`Pool`], one pool per plugin and configuration.
//! A call is waited out in a task of its own and never dropped half-way; who asks stops waiting after the wall limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};
use wasmtime::{Store, UpdateDeadline};
use wasmtx_hub::{Access, Decision, Denial, PathName, Permit};

use crate::{
    bindings::auth::{Deciding, auth as wit},
    convert,
    failure::{Failure, Refused},
    host::{State, log::clean},
    instance::store,
    limits::AUTH_WAITING,
    metrics::{Place, count},
    plugin::Plugin,
    policy::{AuthFailure, Circuit, OnError, Restart},
    ticker::EPOCH,
    version::Version,
};

/// Bytes of an identity, and of a tag's name or value.
const TEXT_LEN: usize = 256;
const TAGS: usize = 16;
/// Auth plugins never stay off for good: a stranger's request must not lock everybody out until somebody notices.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The auth plugins of a path, in order.
pub struct AuthChain {
    slots: Vec<AuthSlot>,
}

pub(crate) struct AuthSlot {
    pub(crate) pool: Arc<Pool>,
    pub(crate) on_error: Option<OnError>,
}

impl AuthChain {
    pub(crate) fn new(slots: Vec<AuthSlot>) -> AuthChain {
        AuthChain { slots }
    }

    /// The first answer other than "abstain"; `None` when all abstained, or failed with the policy to go on.
    ///
    /// A plugin that cannot answer denies with [`Denial::Later`]. Needs a tokio runtime; takes at most the plugins' wall
    /// limits together.
    pub async fn check(&self, access: &Access) -> Option<Decision> {
        for slot in &self.slots {
            match slot.pool.check(access).await {
                Ok(Some(decision)) => return Some(decision),
                Ok(None) => {}
                Err(_) if slot.policy() == AuthFailure::Next => {}
                Err(_) => return Some(Decision::Deny(Denial::Later)),
            }
        }
        None
    }
}

impl AuthSlot {
    fn policy(&self) -> AuthFailure {
        self.on_error.unwrap_or(self.pool.plugin.version.load().on_error).auth
    }
}

/// The instances of one plugin in one configuration.
pub(crate) struct Pool {
    plugin: Arc<Plugin>,
    /// JSON text in place of the plugin's own.
    config: Option<Arc<str>>,
    place: Arc<Place>,
    /// Instances that wait for a question. Never locked while a guest runs.
    idle: Mutex<Vec<Guest>>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    rest: Mutex<Rest>,
}

/// Failures, and until when nobody is asked because of them.
#[derive(Default)]
struct Rest {
    circuit: Circuit,
    until: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(plugin: &Arc<Plugin>, config: Option<Arc<str>>) -> Pool {
        let instances = plugin.version.load().limits.auth_instances.max(1);
        Pool {
            plugin: plugin.clone(),
            config,
            place: plugin.place("", 0),
            idle: Mutex::default(),
            running: Arc::new(Semaphore::new(instances)),
            waiting: AtomicUsize::new(0),
            rest: Mutex::default(),
        }
    }

    /// Asks one instance. `Ok(None)` is "abstain"; errors are counted and logged here.
    async fn check(self: &Arc<Self>, access: &Access) -> Result<Option<Decision>, Failure> {
        let answer = self.ask(access).await;
        let counts = &self.place.counts;
        count(&counts.calls);
        match &answer {
            Ok(Some(Decision::Allow(_))) => count(&counts.passed),
            Ok(Some(Decision::Deny(_))) => count(&counts.dropped),
            Ok(None) => {}
            Err(failure) => {
                failure.count(counts);
                let (plugin, path) = (self.plugin.name(), access.path.as_ref().map_or("", PathName::as_str));
                tracing::warn!(plugin, path, call = "check", %failure, "plugin fails");
            }
        }
        answer
    }

    async fn ask(self: &Arc<Self>, access: &Access) -> Result<Option<Decision>, Failure> {
        if self.rest.lock().until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::other("it failed too often and rests"));
        }
        let version = self.plugin.version.load_full();
        let waiting = Waiting::enter(&self.waiting)?;
        let wall = version.limits.auth_wall;
        let late = |_| Failure::other("no answer in time");
        let permit = timeout(wall, self.running.clone().acquire_owned())
            .await
            .map_err(late)?;
        drop(waiting);
        let request = request(access, &version);
        let proof = access.proof.clone();
        let pool = self.clone();
        // A task of its own: the call ends by its own limits, even when who asked is gone.
        let call = tokio::spawn(async move {
            let _permit = permit;
            let answer = pool.call(version, request, proof).await;
            if answer.is_err() {
                pool.rest.lock().failed(Instant::now());
            }
            answer
        });
        match timeout(wall, call).await.map_err(late)? {
            Ok(answer) => decision(answer?),
            Err(_) => Err(Failure::other("the host panics in a call of the guest")),
        }
    }

    async fn call(
        &self,
        version: Arc<Version>,
        request: wit::Request,
        proof: Arc<dyn wasmtx_hub::Proof>,
    ) -> Result<wit::Decision, Failure> {
        let idle = {
            let mut idle = self.idle.lock();
            // Those of an old version end here.
            idle.retain(|guest| guest.number == version.number);
            idle.pop()
        };
        let mut guest = match idle {
            Some(guest) => guest,
            None => {
                let config = self.config.as_deref().unwrap_or(&version.config);
                Guest::start(&self.plugin, &self.place, &version, config)
                    .await
                    .map_err(Refused::into_failure)?
            }
        };
        let answer = guest.check(&version, request, proof).await?;
        self.idle.lock().push(guest);
        Ok(answer)
    }
}

impl Rest {
    fn failed(&mut self, now: Instant) {
        self.until = match self.circuit.failed(now, now.elapsed().subsec_nanos()) {
            Restart::Now => None,
            Restart::At(then) => Some(then),
            Restart::Never => {
                self.circuit.reset();
                Some(now + LONGEST_REST)
            }
        };
    }
}

/// One question that waits for an instance.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Waiting<'a>, Failure> {
        let waiting = Waiting(count);
        if count.fetch_add(1, Relaxed) >= AUTH_WAITING {
            return Err(Failure::other("too many questions wait for it"));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One instance.
struct Guest {
    store: Store<State>,
    calls: Deciding,
    /// Of its version.
    number: u64,
}

impl Guest {
    async fn start(plugin: &Plugin, place: &Arc<Place>, version: &Version, config: &str) -> Result<Guest, Refused> {
        let Some(pre) = &version.code.auth else {
            return Err(Failure::other("the component is no auth plugin").into());
        };
        let mut state = State::new(plugin.common.clone(), place.clone(), version);
        let _running = state.ticker.guard();
        state.running = version.limits.open;
        let mut store = store(&version.code, state, EPOCH);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            let Some(left) = state.running.checked_sub(EPOCH) else {
                return Ok(UpdateDeadline::Interrupt);
            };
            state.running = left;
            // Other tasks of this worker thread get their turn every millisecond, however busy the guest is.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let failed = |store: &Store<State>, error| Failure::of(&error, store.data().meter.refused());
        let calls = match pre.instantiate_async(&mut store).await {
            Ok(calls) => calls,
            Err(error) => return Err(failed(&store, error).into()),
        };
        match calls.wasmtx_plugin_lifecycle().call_configure(&mut store, config).await {
            Ok(configured) => configured?,
            Err(error) => return Err(failed(&store, error).into()),
        };
        Ok(Guest {
            store,
            calls,
            number: version.number,
        })
    }

    async fn check(
        &mut self,
        version: &Version,
        request: wit::Request,
        proof: Arc<dyn wasmtx_hub::Proof>,
    ) -> Result<wit::Decision, Failure> {
        let state = self.store.data_mut();
        state.running = version.limits.auth_running;
        state.proof = Some(proof);
        let _running = state.ticker.guard();
        self.store.set_epoch_deadline(1);
        let answer = self
            .calls
            .wasmtx_plugin_auth()
            .call_check(&mut self.store, &request)
            .await;
        self.store.data_mut().proof = None;
        answer.map_err(|error| Failure::of(&error, self.store.data().meter.refused()))
    }
}

fn request(access: &Access, version: &Version) -> wit::Request {
    let grants = &version.grants;
    let secret = |text: Option<&str>| text.filter(|_| grants.credentials).map(str::to_owned);
    wit::Request {
        action: convert::action(access.action),
        path: access.path.as_ref().map(PathName::to_string).unwrap_or_default(),
        client: convert::client(&access.client, grants),
        encrypted: access.encrypted,
        user: access.proof.user().map(str::to_owned),
        password: secret(access.proof.password()),
        token: secret(access.proof.token()),
    }
}

/// The guest's answer in the hub's words. A permit that makes no sense is a failure: closed rather than half open.
fn decision(answer: wit::Decision) -> Result<Option<Decision>, Failure> {
    let permit = match answer {
        wit::Decision::Abstain => return Ok(None),
        wit::Decision::Deny(denial) => {
            return Ok(Some(Decision::Deny(match denial {
                wit::Denial::Credentials => Denial::Credentials,
                wit::Denial::NotAllowed => Denial::NotAllowed,
                wit::Denial::NotFound => Denial::NotFound,
                wit::Denial::TooMany => Denial::TooMany,
                wit::Denial::Later => Denial::Later,
            })));
        }
        wit::Decision::Allow(permit) => permit,
    };
    let path = permit.path.as_deref().map(PathName::new).transpose();
    let path = path.map_err(|error| Failure::other(format!("it sends the client to an {error}")))?;
    let text = |text: String| clean(&text, TEXT_LEN);
    Ok(Some(Decision::Allow(Permit {
        identity: permit.identity.map(text),
        lasts: permit.lasts.map(Duration::from_secs),
        // A question every second at most, whatever the guest says.
        recheck: permit.recheck.map(|seconds| Duration::from_secs(seconds.max(1))),
        path,
        max_bitrate: permit.max_bitrate,
        tags: permit
            .tags
            .into_iter()
            .take(TAGS)
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
    })))
}
