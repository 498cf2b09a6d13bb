//! The instances of one plugin in one configuration, for a role that answers questions.
//!
//! One call has one instance to itself; between calls instances wait here. Only as many run guest code at once as
//! [`Limits::instances`](crate::Limits) says, the others wait for answers from outside. A call is waited out in a task of its
//! own, even when who asked is gone, so that its instance can serve again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep_until, timeout_at},
};

use super::{Budget, Call, Exports, Group, Guest};
use crate::{
    failure::{Cause, Failure, Refused},
    hits::Limit,
    limits::{ASKED, ASKING},
    metrics::{Condition, count},
    plugin::Plugin,
    policy::Rest,
    version::Version,
};

/// A tick of an instance that waits for questions may last so long, whatever it waits for.
const TICK_WALL: Duration = Duration::from_secs(5);

pub(crate) struct Pool<E> {
    pub(crate) group: Group,
    /// Never locked while a guest runs.
    idle: Mutex<Idle<E>>,
    /// How many of those that wait are kept.
    keep: usize,
    asked: Arc<Semaphore>,
    asking: AtomicUsize,
    rest: Mutex<Rest>,
}

/// Instances that wait for a question.
struct Idle<E> {
    guests: Vec<Guest<E>>,
    /// Whether a task lets them tick.
    ticking: bool,
}

/// What is asked, apart from the question itself.
pub(crate) struct Question<'a> {
    pub(crate) version: Arc<Version>,
    /// Time that the guest may run.
    pub(crate) running: Duration,
    /// Time until the answer must be there.
    pub(crate) wall: Duration,
    /// For the log: the function that is called, and on whose behalf.
    pub(crate) call: &'static str,
    pub(crate) path: &'a str,
}

impl<E: Exports> Pool<E> {
    pub(crate) fn new(plugin: &Arc<Plugin>, config: Option<Arc<str>>) -> Pool<E> {
        let instances = plugin.version.load().limits.instances.clamp(1, ASKED);
        Pool {
            group: Group::new(plugin, config, instances),
            idle: Mutex::new(Idle {
                guests: Vec::new(),
                ticking: false,
            }),
            keep: instances,
            asked: Arc::new(Semaphore::new(ASKED)),
            asking: AtomicUsize::new(0),
            rest: Mutex::default(),
        }
    }

    /// Asks one instance. Errors are counted and logged here, calls counted.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: Question<'_>,
        call: impl Call<E, T>,
    ) -> Result<T, Failure> {
        let Question { path, call: name, .. } = question;
        if !question.version.enabled {
            // As the operator wants it: nothing to count or to tell.
            self.group.place.counts.set(Condition::Disabled);
            return Err(Failure::other("it is switched off"));
        }
        let begun = Instant::now();
        let answer = self.answer(question, call).await;
        let counts = &self.group.place.counts;
        count(&counts.calls);
        counts.times.observe(begun.elapsed());
        if let Err(failure) = &answer {
            self.group.report(failure, path, name);
        }
        answer
    }

    async fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        question: Question<'_>,
        call: impl Call<E, T>,
    ) -> Result<T, Failure> {
        let counts = &self.group.place.counts;
        if self.rest.lock().until(Instant::now()).is_some() {
            counts.set(Condition::Restarting);
            return Err(Failure::other("it failed too often and rests"));
        }
        counts.set(Condition::Running);
        let budget = Budget::new(question.running, question.wall);
        let asking = Asking::enter(&self.asking)?;
        let asked = timeout_at(budget.until.into(), self.asked.clone().acquire_owned())
            .await
            .map_err(|_| Failure::late().timed(Limit::running(E::ROLE), Limit::lasting(E::ROLE)))?;
        drop(asking);
        let pool = self.clone();
        let version = question.version;
        let call = tokio::spawn(async move {
            let _asked = asked;
            let answer = pool.call(&version, budget, call).await;
            if let Err(failure) = &answer
                && failure.cause != Cause::Late
            {
                pool.failed();
            }
            answer
        });
        match call.await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::other("the host panics in a call of the guest")),
        }
    }

    async fn call<T>(self: &Arc<Self>, version: &Version, budget: Budget, call: impl Call<E, T>) -> Result<T, Failure> {
        let idle = {
            let mut idle = self.idle.lock();
            // Those of an old version end here.
            idle.guests.retain(|guest| guest.number == version.number);
            idle.guests.pop()
        };
        let mut guest = match idle {
            Some(guest) => guest,
            None => Guest::start(&self.group, version, budget.until)
                .await
                .map_err(Refused::into_failure)?,
        };
        let answer = guest.call(budget, call).await?;
        self.keep(guest);
        Ok(answer)
    }

    fn failed(&self) {
        let now = Instant::now();
        self.rest.lock().failed(now, now.elapsed().subsec_nanos());
    }

    /// There is another version: the instances of the old one end, and what was is forgotten.
    pub(crate) fn renew(&self) {
        let old = std::mem::take(&mut self.idle.lock().guests);
        self.rest.lock().reset();
        drop(old);
    }

    /// Lets an instance wait for the next question, unless enough do or its version is an old one.
    fn keep(self: &Arc<Self>, guest: Guest<E>) {
        if guest.number != self.group.plugin.version.load().number {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.guests.len() >= self.keep {
            return;
        }
        if guest.tick_due().is_some() && !std::mem::replace(&mut idle.ticking, true) {
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(due) = pool.upgrade().and_then(|pool| pool.next_tick()) {
                    sleep_until(due.into()).await;
                    if let Some(pool) = pool.upgrade() {
                        pool.tick().await;
                    }
                }
            });
        }
        idle.guests.push(guest);
    }

    /// When the first tick is due; `None` when none of those that wait wants ticks: then the task ends.
    fn next_tick(&self) -> Option<Instant> {
        let mut idle = self.idle.lock();
        let due = idle.guests.iter().filter_map(Guest::tick_due).min();
        idle.ticking = due.is_some();
        due
    }

    /// Lets every instance tick that waits for questions and whose tick is due.
    async fn tick(self: &Arc<Self>) {
        let now = Instant::now();
        let due = |guest: &mut Guest<E>| guest.tick_due().is_some_and(|due| due <= now);
        let due: Vec<_> = self.idle.lock().guests.extract_if(.., due).collect();
        for mut guest in due {
            match guest.tick(TICK_WALL).await {
                Ok(()) => self.keep(guest),
                Err(failure) => {
                    self.group.report(&failure, "", "tick");
                    self.failed();
                }
            }
        }
    }
}

/// One question that waits for its turn.
struct Asking<'a>(&'a AtomicUsize);

impl<'a> Asking<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Asking<'a>, Failure> {
        let asking = Asking(count);
        if count.fetch_add(1, Relaxed) >= ASKING {
            return Err(Failure::other("too many questions wait for it"));
        }
        Ok(asking)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
