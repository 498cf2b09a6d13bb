//! Plugins with the role `events`: told what happened, afterwards, one thing after the other.
//!
//! One instance per plugin and configuration, fed from a bounded queue by a task of its own. Telling never waits: what an
//! instance does not keep up with is dropped and counted, and the instance is told how much it missed.

mod task;
mod words;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use wasmtx_hub::Happened;

use self::task::Task;
use crate::{fiber::Group, metrics::count, plugin::Plugin};

/// Events that wait for an instance. Beyond them new ones are lost.
const QUEUE: usize = 1_024;

/// The events plugins of a path.
pub struct Observers {
    all: Vec<Arc<Observer>>,
}

impl Observers {
    pub(crate) fn new(all: Vec<Arc<Observer>>) -> Observers {
        Observers { all }
    }

    /// Starts the instances that do not run yet: they may want ticks before anything happens. Needs a tokio runtime.
    pub fn start(&self) {
        self.all.iter().for_each(|observer| observer.start());
    }

    pub(crate) fn tell(&self, happened: &Arc<Happened>) {
        self.all.iter().for_each(|observer| observer.tell(happened));
    }
}

/// The instance of one plugin in one configuration.
pub(crate) struct Observer {
    group: Group,
    queue: mpsc::Sender<Told>,
    /// The other end, until the task runs.
    begin: Mutex<Option<mpsc::Receiver<Told>>>,
    /// Events that it has not been told yet.
    pending: Arc<watch::Sender<usize>>,
    /// Events dropped since the last one that went into the queue.
    lost: AtomicU32,
}

/// An event on its way to one instance.
struct Told {
    happened: Arc<Happened>,
    /// How many it missed before this one.
    lost: u32,
}

impl Observer {
    pub(crate) fn new(plugin: &Arc<Plugin>, config: Option<Arc<str>>) -> Observer {
        let (queue, begin) = mpsc::channel(QUEUE);
        Observer {
            group: Group::new(plugin, config, 1),
            queue,
            begin: Mutex::new(Some(begin)),
            pending: Arc::default(),
            lost: AtomicU32::new(0),
        }
    }

    /// The task ends when this is dropped, once it has told what is in the queue.
    fn start(&self) {
        if let Some(queue) = self.begin.lock().take() {
            tokio::spawn(Task::new(self.group.clone(), queue, self.pending.clone()).run());
        }
    }

    pub(crate) fn tell(&self, happened: &Arc<Happened>) {
        if happened.event.plugin() == Some(self.group.plugin.name()) {
            // What a plugin raises when it is told something would come back for ever, and so would its failures.
            return;
        }
        self.start();
        let lost = self.lost.swap(0, Relaxed);
        self.pending.send_modify(|pending| *pending += 1);
        let happened = happened.clone();
        if self.queue.try_send(Told { happened, lost }).is_err() {
            self.pending.send_modify(|pending| *pending -= 1);
            self.lose(lost.saturating_add(1));
            count(&self.group.place.counts.bypassed);
        }
    }

    /// Events were lost that perhaps were for it.
    pub(crate) fn lose(&self, events: u32) {
        // Only one task tells, so nothing comes between reading and writing.
        self.lost.store(self.lost.load(Relaxed).saturating_add(events), Relaxed);
    }

    /// Waits until everything has been told that was in the queue.
    pub(crate) async fn settled(&self) {
        // The sender is ours: this fails for no reason.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }
}
