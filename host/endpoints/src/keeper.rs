//! Keeps paths: starts and stops what brings them online without a client, and runs the commands that go with their life.
//!
//! One task per path follows [`Path::watch`] from the path's birth to its end. It owns the path's source and commands;
//! nobody else starts or stops them.

mod demand;
mod plan;

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use wasmtx_hub::{Found, Path, PathName, PathStatus, Peer};

use crate::{
    hooks::{Hook, Runner, Running, Variables},
    source::{self, Pull, Puller},
};
use demand::{Act, Demand, Seen};

pub use demand::Timing;
pub use plan::{Hooks, PathPlan, Plans};

/// Paths whose failed start is remembered beyond their life; more are forgotten early.
const MAX_COOLING: usize = 4_096;

/// Keeps every path of the hub.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    /// Counts reloads.
    reloads: watch::Sender<u64>,
    /// Dropped to end every task.
    stop: watch::Sender<bool>,
    /// Closed when every task is over.
    over: mpsc::Receiver<()>,
}

struct Shared {
    plans: Box<dyn Plans>,
    runner: Runner,
    puller: Puller,
    rtsp_port: u16,
    /// Until when those who ask for a path are sent away, its start having failed.
    cooling: Mutex<HashMap<PathName, Instant>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("runner", &self.runner)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keeps every path that `births` (of [`wasmtx_hub::Hub::new`]) announces. `rtsp_port` is what commands are told.
    pub fn spawn(
        mut births: mpsc::UnboundedReceiver<Arc<Path>>,
        plans: impl Plans,
        runner: Runner,
        puller: Puller,
        rtsp_port: u16,
    ) -> Keeper {
        let shared = Arc::new(Shared {
            plans: Box::new(plans),
            runner,
            puller,
            rtsp_port,
            cooling: Mutex::default(),
        });
        let (reloads, _) = watch::channel(0);
        let (stop, mut stopped) = watch::channel(false);
        let (alive, over) = mpsc::channel(1);
        let (spawner, reload) = (shared.clone(), reloads.subscribe());
        tokio::spawn(async move {
            loop {
                let path = tokio::select! {
                    path = births.recv() => path,
                    _ = stopped.changed() => None,
                };
                let Some(path) = path else { return };
                let task = Task::new(spawner.clone(), path);
                let (reload, stopped, alive) = (reload.clone(), stopped.clone(), alive.clone());
                tokio::spawn(async move {
                    task.run(reload, stopped).await;
                    drop(alive);
                });
            }
        });
        Keeper {
            shared,
            reloads,
            stop,
            over,
        }
    }

    /// Another configuration is in force: every path looks up its plan and restarts what changed in it.
    pub fn reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }

    /// Ends every source and every command within `budget`, and waits until no child is left.
    pub async fn close(mut self, budget: Duration) {
        let deadline = Instant::now() + budget;
        self.stop.send_replace(true);
        // Nothing is ever sent: this waits until every task has dropped its end.
        let tasks = async { while self.over.recv().await.is_some() {} };
        let runner = self.shared.runner.clone();
        tokio::join!(tasks, runner.close(deadline - Instant::now()));
        // A task may have had a last word while the runner closed.
        runner.close(Duration::ZERO).await;
    }
}

/// The keeper of one path.
struct Task {
    shared: Arc<Shared>,
    path: Arc<Path>,
    plan: Arc<PathPlan>,
    /// What commands are told about the path itself.
    variables: Variables,
    init: Option<Running>,
    demand: Option<Demand>,
    /// Where a resolver found the stream.
    found: Option<Arc<Found>>,
    pull: Option<Pull>,
    /// The command started on demand, and what it was told.
    command: Option<(Option<Running>, Variables)>,
    online: Option<Online>,
}

/// A publication and its commands.
struct Online {
    source: Option<Peer>,
    variables: Variables,
    available: Option<Running>,
    online: Option<Running>,
}

impl Task {
    fn new(shared: Arc<Shared>, path: Arc<Path>) -> Task {
        let plan = shared.plans.plan(&path);
        let variables = variables(&path, shared.rtsp_port);
        Task {
            shared,
            path,
            plan,
            variables,
            init: None,
            demand: None,
            found: None,
            pull: None,
            command: None,
            online: None,
        }
    }

    async fn run(mut self, mut reload: watch::Receiver<u64>, mut stopped: watch::Receiver<bool>) {
        let mut status = self.path.watch();
        reload.mark_unchanged();
        self.init = self.start_hook("runOnInit", |hooks| &hooks.init, &self.variables);
        self.begin();
        loop {
            let seen = status.borrow_and_update().clone();
            if seen.closed || *stopped.borrow() {
                break;
            }
            self.follow_publication(&seen);
            self.follow_found(&seen);
            self.follow_demand(&seen);
            let timeout = self.demand.as_ref().and_then(Demand::poll_timeout);
            tokio::select! {
                changed = status.changed() => if changed.is_err() { break },
                changed = reload.changed() => if changed.is_ok() { self.reload().await },
                _ = stopped.changed() => break,
                () = sleep_until(timeout.unwrap_or_else(Instant::now)), if timeout.is_some() => {}
            }
        }
        self.end().await;
    }

    /// Starts what runs without being asked, or waits for who asks.
    fn begin(&mut self) {
        if self.found.is_some() {
            let (_, timing) = self.plan.found;
            self.demand = Some(Demand::new(timing, None));
            return;
        }
        match (self.plan.on_demand, &self.plan.source) {
            (Some(timing), _) => {
                let cooling = self.shared.cooling.lock().get(&self.path.name).copied();
                let cooling = cooling.filter(|until| *until > Instant::now());
                self.demand = Some(Demand::new(timing, cooling));
            }
            (None, Some(source)) => self.pull = Some(self.shared.puller.start(source.clone(), self.path.clone(), "")),
            (None, None) => {}
        }
    }

    /// A resolver found the stream, or what it found is not looked for any more.
    fn follow_found(&mut self, seen: &PathStatus) {
        let is_same = match (&self.found, &seen.found) {
            (Some(mine), Some(seen)) => Arc::ptr_eq(mine, seen),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.stop_on_demand();
            self.demand = None;
            self.found.clone_from(&seen.found);
            self.begin();
        }
    }

    /// Ends what a resolver found. The next reader asks again, after the rest if it `failed`.
    fn forget_found(&mut self, failed: bool) {
        if let Some(found) = self.found.take() {
            self.demand = None;
            let until = failed.then(|| std::time::Instant::now() + demand::COOLING);
            self.path.forget_found(&found, until);
        }
    }

    fn follow_demand(&mut self, seen: &PathStatus) {
        let now = Instant::now();
        let seen_now = Seen {
            readers: seen.readers,
            waiting: seen.waiting,
            online: seen.publication.is_some(),
        };
        while let Some(act) = self.demand.as_mut().and_then(|demand| demand.handle(now, seen_now)) {
            match act {
                Act::Start => self.start_on_demand(&seen.query),
                Act::Stop => {
                    self.stop_on_demand();
                    self.forget_found(false);
                }
                Act::GiveUp => {
                    tracing::warn!(path = %self.path.name, "the path did not come online in time, its readers are refused");
                    self.stop_on_demand();
                    if self.found.is_some() {
                        self.forget_found(true);
                    } else {
                        self.remember_failure();
                    }
                    self.path.refuse_waiting();
                }
                Act::Refuse => self.path.refuse_waiting(),
            }
        }
    }

    fn start_on_demand(&mut self, query: &str) {
        if let Some(found) = &self.found {
            let (manner, _) = self.plan.found;
            match source::Plan::named(&found.url, &found.hosts, manner) {
                Ok(plan) => self.pull = Some(self.shared.puller.start(plan, self.path.clone(), "")),
                Err(error) => {
                    tracing::warn!(path = %self.path.name, "the source that a plugin names is not used: {error}");
                    self.forget_found(true);
                    self.path.refuse_waiting();
                }
            }
            return;
        }
        match &self.plan.source {
            Some(source) => self.pull = Some(self.shared.puller.start(source.clone(), self.path.clone(), query)),
            None => {
                let variables = self.variables.clone().with_query(query);
                let running = self.start_hook("runOnDemand", |hooks| &hooks.demand.during, &variables);
                self.command = Some((running, variables));
            }
        }
    }

    /// Ends what was started on demand; its process goes on ending in the background.
    fn stop_on_demand(&mut self) {
        self.pull = None;
        if let Some((running, variables)) = self.command.take() {
            drop(running);
            self.fire_hook("runOnUnDemand", |hooks| &hooks.demand.after, &variables);
        }
    }

    fn follow_publication(&mut self, seen: &PathStatus) {
        let source = self.path.source();
        let is_same = match &self.online {
            Some(online) => seen.publication.is_some() && (online.source == source || source.is_none()),
            None => seen.publication.is_none(),
        };
        if is_same {
            return;
        }
        self.go_offline();
        if seen.publication.is_some() {
            let query = self
                .path
                .publisher()
                .map_or_else(|| seen.query.clone(), |client| client.query.clone());
            let mut variables = self.variables.clone().with_query(&query);
            if let Some(source) = source {
                variables = variables
                    .with("MTX_SOURCE_TYPE", source.kind)
                    .with("MTX_SOURCE_ID", source.id.to_string());
            }
            let available = self.start_hook("runOnAvailable", |hooks| &hooks.available.during, &variables);
            let online = self.start_hook("runOnOnline", |hooks| &hooks.online.during, &variables);
            self.online = Some(Online {
                source,
                variables,
                available,
                online,
            });
        }
    }

    fn go_offline(&mut self) {
        let Some(Online {
            variables,
            available,
            online,
            ..
        }) = self.online.take()
        else {
            return;
        };
        drop((available, online));
        self.fire_hook("runOnOffline", |hooks| &hooks.online.after, &variables);
        self.fire_hook("runOnUnavailable", |hooks| &hooks.available.after, &variables);
    }

    /// Restarts what the new plan has otherwise.
    async fn reload(&mut self) {
        // Another entry of the configuration may match the path now, with other groups.
        self.variables = variables(&self.path, self.shared.rtsp_port);
        let new = self.shared.plans.plan(&self.path);
        let old = std::mem::replace(&mut self.plan, new);
        let (new, hooks) = (self.plan.clone(), self.plan.hooks.clone());
        if old.hooks.init != hooks.init {
            close(self.init.take()).await;
            self.init = self.start_hook("runOnInit", |hooks| &hooks.init, &self.variables);
        }
        if old.source != new.source || old.on_demand != new.on_demand || old.hooks.demand.during != hooks.demand.during
        {
            self.stop_on_demand();
            self.demand = None;
            self.begin();
        }
        if let Some(mut online) = self.online.take() {
            if old.hooks.available.during != hooks.available.during {
                close(online.available.take()).await;
                online.available =
                    self.start_hook("runOnAvailable", |hooks| &hooks.available.during, &online.variables);
            }
            if old.hooks.online.during != hooks.online.during {
                close(online.online.take()).await;
                online.online = self.start_hook("runOnOnline", |hooks| &hooks.online.during, &online.variables);
            }
            self.online = Some(online);
        }
    }

    /// Ends everything of this path, for good.
    async fn end(mut self) {
        self.go_offline();
        if let Some(pull) = self.pull.take() {
            pull.close().await;
        }
        self.stop_on_demand();
    }

    /// For the next path of this name: a dynamic one is gone as soon as nobody waits for it.
    fn remember_failure(&self) {
        let Some(until) = self.demand.as_ref().and_then(Demand::cooling_until) else {
            return;
        };
        let now = Instant::now();
        let mut cooling = self.shared.cooling.lock();
        if cooling.len() >= MAX_COOLING / 2 {
            cooling.retain(|_, until| *until > now);
        }
        if cooling.len() < MAX_COOLING {
            cooling.insert(self.path.name.clone(), until);
        }
    }

    fn start_hook(&self, name: &'static str, pick: fn(&Hooks) -> &Hook, variables: &Variables) -> Option<Running> {
        let hook = pick(&self.plan.hooks);
        hook.is_some().then(|| self.shared.runner.start(name, hook, variables))
    }

    fn fire_hook(&self, name: &'static str, pick: fn(&Hooks) -> &Hook, variables: &Variables) {
        let hook = pick(&self.plan.hooks);
        if hook.is_some() {
            self.shared.runner.fire(name, hook, variables);
        }
    }
}

/// What commands are told about a path.
fn variables(path: &Path, rtsp_port: u16) -> Variables {
    Variables::of_path(&path.name, &path.groups(), rtsp_port)
}

async fn close(running: Option<Running>) {
    if let Some(running) = running {
        running.close().await;
    }
}

#[cfg(test)]
mod tests;
