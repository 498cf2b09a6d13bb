//! Instances off the media path: called on fibers, so that a guest may wait for the host without holding a thread.
//!
//! What the roles have in common: how an instance is made, how long a call may run and last, ticks, and handing state over.
//! [`Pool`] is for roles that answer questions, many at once.

mod pool;

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::Semaphore,
    time::{self, timeout_at},
};
use wasmtime::{
    Store, UpdateDeadline,
    component::{Instance, InstancePre},
};

pub(crate) use self::pool::{Pool, Question};
use crate::{
    bindings::{
        auth::Deciding,
        events::Observing,
        lifecycle::waiting::{Living, Snapshot},
        plugin::{clock, types::PluginError},
        resolver::Resolving,
        sink::Sinking,
    },
    component::{Code, Role},
    failure::{Failure, Refused},
    hits::Limit,
    host::{
        State,
        frame::AtHand,
        storage::Granted,
        turn::{DiskTime, Turn},
    },
    instance::{Restored, snapshot_fits, store},
    limits::SHORTEST_TICK,
    metrics::Place,
    plugin::Plugin,
    ticker::EPOCH,
    version::Version,
};

/// While a call waits for a disk after its time, it is looked at so often.
const LOOK: Duration = Duration::from_millis(100);

/// What a component exports for one role.
pub(crate) trait Exports: Send + Sync + Sized + 'static {
    /// Which.
    const ROLE: Role;

    /// What instances are made from, if the component has the role.
    fn linked(code: &Code) -> Option<&InstancePre<State>>;

    /// The exports of an instance.
    fn of(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self>;
}

macro_rules! exports {
    ($($exports:ty: $role:expr, $field:ident;)*) => {$(
        impl Exports for $exports {
            const ROLE: Role = $role;

            fn linked(code: &Code) -> Option<&InstancePre<State>> {
                code.$field.as_ref().map(|pre| pre.instance_pre())
            }

            fn of(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self> {
                Self::new(store, instance)
            }
        }
    )*};
}

exports! {
    Deciding: Role::Auth, auth;
    Observing: Role::Events, events;
    Sinking: Role::Sink, sink;
    Resolving: Role::Resolver, resolver;
}

/// One call of a role's own function.
pub(crate) trait Call<E, T>:
    for<'a> FnOnce(&'a E, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static
{
}

impl<E, T, F> Call<E, T> for F where
    F: for<'a> FnOnce(&'a E, &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static
{
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Time that the guest itself runs.
    pub(crate) running: Duration,
    /// When it is over, whatever it waits for; but for disks.
    pub(crate) until: Instant,
}

impl Budget {
    pub(crate) fn new(running: Duration, wall: Duration) -> Budget {
        Budget {
            running,
            until: Instant::now() + wall,
        }
    }
}

/// What instances share that belong together.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) plugin: Arc<Plugin>,
    /// JSON text in place of the plugin's own.
    pub(crate) config: Option<Arc<str>>,
    pub(crate) place: Arc<Place>,
    /// In place of what the plugin was granted.
    storage: Option<Granted>,
    /// As many as may run at once.
    turns: Arc<Semaphore>,
    /// Bytes of linear memory of all of them.
    memory: Arc<AtomicUsize>,
}

impl Group {
    pub(crate) fn new(plugin: &Arc<Plugin>, config: Option<Arc<str>>, turns: usize) -> Group {
        Group::at(plugin, config, plugin.place("", 0), turns)
    }

    /// What counts in a place of a path's list.
    pub(crate) fn at(plugin: &Arc<Plugin>, config: Option<Arc<str>>, place: Arc<Place>, turns: usize) -> Group {
        Group {
            plugin: plugin.clone(),
            config,
            place,
            storage: None,
            turns: Arc::new(Semaphore::new(turns)),
            memory: Arc::default(),
        }
    }

    /// The same with a place for files that is its own, if there is one.
    pub(crate) fn with_storage(self, storage: Option<Granted>) -> Group {
        Group { storage, ..self }
    }

    /// Counts a failure and says it.
    pub(crate) fn report(&self, failure: &Failure, path: &str, call: &'static str) {
        failure.count(&self.place);
        self.plugin.common.note_failure(path, failure);
        let plugin = self.plugin.name();
        tracing::warn!(plugin, path, call, %failure, "plugin fails");
    }
}

/// One instance. After a failure it is dead and must be dropped.
pub(crate) struct Guest<E> {
    store: Store<State>,
    exports: E,
    life: Living,
    /// Of its version.
    pub(crate) number: u64,
    tick: Option<Duration>,
    next_tick: Instant,
}

impl<E: Exports> Guest<E> {
    /// Instantiates and configures, when it is this instance's turn.
    pub(crate) async fn start(group: &Group, version: &Version, until: Instant) -> Result<Guest<E>, Refused> {
        let Some(pre) = E::linked(&version.code) else {
            return Err(Failure::other(format!("the component has no role {}", E::ROLE)).into());
        };
        let config = group.config.as_deref().unwrap_or(&version.config);
        let mut state = State::new(group.plugin.common.clone(), group.place.clone(), version);
        if let Some(storage) = &group.storage {
            state.outside.storage = Some(storage.clone());
        }
        if E::ROLE == Role::Sink {
            state.frame = AtHand::of_sink(&version.limits);
        }
        state.meter.join(&group.memory);
        state.turn = Some(Turn::new(group.turns.clone(), state.ticker.clone()));
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
        let budget = Budget {
            running: version.limits.open,
            until,
        };
        let configuring = |failure: Failure| failure.timed(Limit::Configure, Limit::lasting(E::ROLE));
        let (exports, life) = run(&mut store, budget, async |store| {
            let instance = pre.instantiate_async(&mut *store).await?;
            Ok((E::of(store, &instance)?, Living::new(store, &instance)?))
        })
        .await
        .map_err(configuring)?;
        let wishes = run(&mut store, budget, async |store| {
            life.wasmtx_plugin_lifecycle().call_configure(store, config).await
        })
        .await
        .map_err(configuring)??;
        let tick = wishes
            .tick
            .map(|millis| Duration::from_millis(millis.into()).max(SHORTEST_TICK));
        Ok(Guest {
            store,
            exports,
            life,
            number: version.number,
            tick,
            next_tick: Instant::now() + tick.unwrap_or_default(),
        })
    }

    /// One call of the role's own.
    pub(crate) async fn call<T>(&mut self, budget: Budget, call: impl Call<E, T>) -> Result<T, Failure> {
        let exports = &self.exports;
        let called = run(&mut self.store, budget, async |store| call(exports, store).await).await;
        called.map_err(|failure| failure.timed(Limit::running(E::ROLE), Limit::lasting(E::ROLE)))
    }

    /// What the host knows of it.
    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// When the next tick is due; `None` when the guest wants none.
    pub(crate) fn tick_due(&self) -> Option<Instant> {
        self.tick.map(|_| self.next_tick)
    }

    /// Lets a tick happen, due or not.
    pub(crate) async fn tick(&mut self, wall: Duration) -> Result<(), Failure> {
        let life = &self.life;
        let budget = Budget::new(self.store.data().limits.tick, wall);
        run(&mut self.store, budget, async |store| {
            let now = clock::Host::now(store.data_mut());
            let ticked = life.wasmtx_plugin_lifecycle().call_tick(&mut *store, now).await;
            store.data_mut().settle_files(Some(Instant::now())).await;
            ticked
        })
        .await
        .map_err(|failure| failure.timed(Limit::Tick, Limit::Tick))?;
        // Ticks that were missed are not made up for.
        self.next_tick = Instant::now() + self.tick.unwrap_or_default();
        Ok(())
    }

    /// The state to hand over, if there is any.
    pub(crate) async fn save(&mut self, wall: Duration) -> Result<Option<Snapshot>, Failure> {
        let life = &self.life;
        let budget = Budget::new(self.store.data().limits.state, wall);
        let saved = run(&mut self.store, budget, async |store| {
            life.wasmtx_plugin_lifecycle().call_save(store).await
        })
        .await
        .map_err(|failure| failure.timed(Limit::State, Limit::State))?;
        if let Some(snapshot) = &saved {
            snapshot_fits(snapshot.data.len(), &self.store.data().limits)?;
        }
        Ok(saved)
    }

    pub(crate) async fn restore(&mut self, snapshot: &Snapshot, wall: Duration) -> Result<Restored, Refused> {
        let life = &self.life;
        let budget = Budget::new(self.store.data().limits.state, wall);
        let restored = run(&mut self.store, budget, async |store| {
            life.wasmtx_plugin_lifecycle().call_restore(store, snapshot).await
        })
        .await
        .map_err(|failure| failure.timed(Limit::State, Limit::State))?;
        match restored {
            Ok(()) => Ok(Restored::Whole),
            Err(PluginError::Unsupported) => Ok(Restored::Fresh),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs a guest when it is its turn, and takes a panic of the host's own functions for a failure of the instance. When this
/// is dropped half-way, or its time is over, the instance is of no use any more.
async fn run<T>(
    store: &mut Store<State>,
    budget: Budget,
    call: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, Failure> {
    let disk_time = store.data().disk_time.clone();
    disk_time.reset();
    let called = async {
        let state = store.data_mut();
        state.running = budget.running;
        if let Some(turn) = &mut state.turn {
            turn.take().await;
        }
        store.set_epoch_deadline(1);
        call(&mut *store).await
    };
    let called = within(budget.until, &disk_time, AssertUnwindSafe(called).catch_unwind()).await;
    if let Some(turn) = &mut store.data_mut().turn {
        turn.give();
    }
    match called {
        Some(Ok(Ok(result))) => Ok(result),
        Some(Ok(Err(error))) => Err(Failure::of(&error, store.data().meter.refused())),
        Some(Err(panic)) => Err(Failure::panicked(&*panic)),
        None => Err(Failure::late()),
    }
}

/// Waits for a call that may take until then, and as long again as it waits for disks.
async fn within<T>(until: Instant, disk_time: &DiskTime, called: impl Future<Output = T>) -> Option<T> {
    let mut called = pin!(called);
    let until = time::Instant::from(until);
    let mut then = until;
    loop {
        if let Ok(done) = timeout_at(then, &mut called).await {
            return Some(done);
        }
        let (now, later) = (time::Instant::now(), until + disk_time.so_far());
        if later <= now {
            return None;
        }
        then = later.max(now + LOOK);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_waiting_for_disks_does_not_count() {
        let disk = DiskTime::default();
        let until = || time::Instant::now().into_std() + SOON;
        let waits_for_disk = async {
            disk.begin();
            sleep(LATER).await;
            disk.end();
        };
        assert!(within(until(), &disk, waits_for_disk).await.is_some());
        assert!(disk.so_far() >= LATER);
        disk.reset();
        assert!(within(until(), &disk, std::future::pending::<()>()).await.is_none());
        let waits_for_more = async {
            disk.begin();
            sleep(LATER).await;
            disk.end();
            std::future::pending::<()>().await;
        };
        assert!(within(until(), &disk, waits_for_more).await.is_none());
    }
}
