//! The task that owns an instance: tells it events, lets it tick, and puts another one in its place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use wasmtime::Store;
use wasmtx_hub::PathName;

use super::{Told, words};
use crate::{
    bindings::events::{Observing, events as wit},
    failure::{Cause, Failure, Refused},
    fiber::{Budget, Group, Guest},
    host::State,
    instance::Restored,
    metrics::{Condition, count},
    policy::Rest,
    version::Version,
};

/// `configure`, `save` and `restore`, each, whatever they wait for.
const WALL: Duration = Duration::from_secs(5);

pub(super) struct Task {
    group: Group,
    queue: mpsc::Receiver<Told>,
    pending: Arc<watch::Sender<usize>>,
    versions: watch::Receiver<u64>,
    guest: Option<Running>,
    rest: Rest,
    /// The last instance failed.
    broken: bool,
}

/// An instance and what it was made from.
struct Running {
    guest: Guest<Observing>,
    version: Arc<Version>,
}

impl Task {
    pub(super) fn new(group: Group, queue: mpsc::Receiver<Told>, pending: Arc<watch::Sender<usize>>) -> Task {
        Task {
            versions: group.plugin.changes(),
            group,
            queue,
            pending,
            guest: None,
            rest: Rest::default(),
            broken: false,
        }
    }

    /// Until nobody can tell anything any more.
    pub(super) async fn run(mut self) {
        loop {
            let wake = match &self.guest {
                Some(running) => running.guest.tick_due(),
                None if self.sleeps() => None,
                None => self.rest.until(Instant::now()).or_else(|| Some(Instant::now())),
            };
            tokio::select! {
                told = self.queue.recv() => {
                    let Some(told) = told else { return };
                    self.tell(told).await;
                    self.pending.send_modify(|pending| *pending -= 1);
                }
                // The plugin, which we hold, has the other end.
                _ = self.versions.changed() => self.swap().await,
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => match self.guest {
                    Some(_) => self.tick().await,
                    None => self.begin().await,
                },
            }
        }
    }

    async fn tell(&mut self, Told { happened, lost }: Told) {
        while self.guest.is_none() {
            self.begin().await;
            if self.guest.is_none() && (self.sleeps() || self.queue.is_closed()) {
                return count(&self.group.place.counts.bypassed);
            }
        }
        let Some(Running { guest, version }) = &mut self.guest else {
            return;
        };
        let stamp = wit::Stamp {
            time: happened.time.0,
            number: happened.number,
            lost,
        };
        let event = words::event(&happened.event, &version.grants);
        let budget = Budget::new(version.limits.event_running, version.limits.event_wall);
        let called = guest.call(budget, move |exports: &Observing, store: &mut Store<State>| {
            Box::pin(async move {
                let events = exports.wasmtx_plugin_events();
                let told = events.call_on_event(&mut *store, stamp, &event).await;
                store.data_mut().settle_files(None).await;
                told
            })
        });
        let begun = Instant::now();
        let called = called.await;
        let counts = &self.group.place.counts;
        counts.times.observe(begun.elapsed());
        count(&counts.calls);
        if let Err(failure) = called {
            // It is told what comes next, never this again.
            let path = happened.event.path().map_or("", PathName::as_str);
            self.failed(&failure, path, "on-event");
        }
    }

    async fn tick(&mut self) {
        let Some(Running { guest, version }) = &mut self.guest else {
            return;
        };
        if let Err(failure) = guest.tick(version.limits.event_wall).await {
            self.failed(&failure, "", "tick");
        }
    }

    /// Whether the plugin is switched off.
    fn sleeps(&self) -> bool {
        !self.group.plugin.version.load().enabled
    }

    /// Makes an instance, once the rest is over or there is another version; none while the plugin is switched off.
    async fn begin(&mut self) {
        if let Some(until) = self.rest.until(Instant::now()) {
            tokio::select! {
                () = sleep_until(until.into()) => {}
                _ = self.versions.changed() => self.rest.reset(),
            }
        }
        if self.sleeps() {
            return;
        }
        match self.make().await {
            Ok(running) => {
                if std::mem::take(&mut self.broken) {
                    count(&self.group.place.counts.restarts);
                }
                self.runs(running);
            }
            Err(refused) => self.failed(&refused.into_failure(), "", "start"),
        }
    }

    /// An instance of the newest version.
    async fn make(&mut self) -> Result<Running, Refused> {
        self.versions.mark_unchanged();
        let version = self.group.plugin.version.load_full();
        let guest = Guest::start(&self.group, &version, Instant::now() + WALL).await?;
        Ok(Running { guest, version })
    }

    /// There is a new version: it takes over with the state of the old one, or the old one stays and the reason is shown.
    async fn swap(&mut self) {
        self.rest.reset();
        if self.sleeps() {
            self.guest = None;
            return self.group.place.counts.set(Condition::Disabled);
        }
        let Some(mut old) = self.guest.take() else {
            return self.begin().await;
        };
        let mut new = match self.make().await {
            Ok(new) => new,
            Err(refused) => return self.keep(old, &refused),
        };
        match old.guest.save(WALL).await {
            Err(failure) => self.group.report(&failure, "", "save"),
            Ok(None) => {}
            Ok(Some(snapshot)) => match new.guest.restore(&snapshot, WALL).await {
                Ok(Restored::Whole) => {}
                Ok(Restored::Fresh) => {
                    if let Err(refused) = new.version.begin_afresh() {
                        return self.keep(old, &refused);
                    }
                    let plugin = self.group.plugin.name();
                    tracing::info!(plugin, "the new version of a plugin begins with a fresh state");
                }
                Err(refused) => return self.keep(old, &refused),
            },
        }
        count(&self.group.place.counts.swaps);
        self.runs(new);
    }

    fn runs(&mut self, running: Running) {
        self.guest = Some(running);
        self.group.place.counts.set(Condition::Running);
    }

    fn keep(&mut self, old: Running, reason: &Refused) {
        let plugin = &self.group.plugin;
        tracing::warn!(plugin = plugin.name(), %reason, "the new version of a plugin does not take over");
        *plugin.error.lock() = Some(reason.to_string());
        self.guest = Some(old);
    }

    fn failed(&mut self, failure: &Failure, path: &str, call: &'static str) {
        self.group.report(failure, path, call);
        self.guest = None;
        self.broken = true;
        self.group.place.counts.set(Condition::Restarting);
        // A service outside that does not answer is not the plugin's fault.
        if failure.cause != Cause::Late {
            let now = Instant::now();
            self.rest.failed(now, now.elapsed().subsec_nanos());
        }
    }
}
