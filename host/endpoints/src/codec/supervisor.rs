//! The thread that has the worker: starts it, writes to it, and puts another in its place.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, Weak, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtx_codec::wire::{Answer, Request, VERSION};

use super::{
    Shared,
    link::{Judged, Link},
    process::{Ended, Process},
};

/// Orders that wait for the thread, of all converters. When it is full, their packets are dropped and counted.
const ORDERS: usize = 4_096;
/// Bytes that are written to the worker at once.
const WRITE_LEN: usize = 64 << 10;
/// Converters that were dropped, and workers that are stuck, are looked for so often.
const LOOK: Duration = Duration::from_millis(500);
/// A worker that ran so long was a good one: the next is started after the shortest pause.
const GOOD: Duration = Duration::from_secs(30);

enum Order {
    Packet(Arc<Link>, i64, Bytes),
    Finish(Arc<Link>),
    /// Something changed.
    Look,
}

/// The way to the thread. Nothing here waits.
#[derive(Clone)]
pub(super) struct Orders(mpsc::SyncSender<Order>);

impl Orders {
    /// Whether the packet is on its way.
    pub(super) fn packet(&self, link: &Arc<Link>, pts: i64, payload: &Bytes) -> bool {
        self.0
            .try_send(Order::Packet(link.clone(), pts, payload.clone()))
            .is_ok()
    }

    pub(super) fn finish(&self, link: &Arc<Link>) {
        if link.finish() && self.0.try_send(Order::Finish(link.clone())).is_err() {
            link.give_up();
        }
    }

    pub(super) fn look(&self) {
        // A full queue is looked at anyway.
        let _ = self.0.try_send(Order::Look);
    }
}

/// What the thread works with.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    /// Counts workers from 1.
    worker: u64,
    idle_since: Option<Instant>,
    wire: Vec<u8>,
}

/// Why a worker is not written to any more.
enum End {
    /// Nobody needs one.
    Idle,
    /// It did not start.
    Missing,
    /// It ended, or said what no worker says.
    Gone,
    /// It does not answer.
    Stuck,
}

impl Supervisor {
    /// Starts the thread. It ends when there have been no converters for a while.
    pub(super) fn start(shared: &Arc<Shared>) -> Orders {
        let (sender, orders) = mpsc::sync_channel(ORDERS);
        let supervisor = Supervisor {
            shared: shared.clone(),
            orders,
            worker: 0,
            idle_since: None,
            wire: Vec::new(),
        };
        let started = thread::Builder::new()
            .name("codec-workers".to_owned())
            .spawn(move || supervisor.run());
        if let Err(error) = started {
            // The converters' packets go nowhere from here on, and are counted.
            tracing::error!("no thread for re-encoding: {error}");
        }
        Orders(sender)
    }

    fn run(mut self) {
        let (shortest, longest) = self.shared.options.pauses;
        let mut pause = shortest;
        loop {
            let started = Instant::now();
            let end = match self.spawn() {
                Ok(process) => self.serve(process),
                Err(error) => {
                    let program = self.shared.options.program.display();
                    tracing::error!("sound is not re-encoded: {program} does not start: {error}");
                    End::Missing
                }
            };
            if let End::Idle = end {
                return;
            }
            let good = started.elapsed() >= GOOD;
            if good {
                pause = shortest;
            }
            if self.wait(pause).is_break() {
                return;
            }
            if !good {
                self.skip();
            }
            pause = pause.saturating_mul(2).min(longest);
            self.shared.counts.restarts.fetch_add(1, Relaxed);
        }
    }

    fn spawn(&mut self) -> io::Result<Process> {
        self.worker += 1;
        let options = &self.shared.options;
        let mut ear = Ear {
            shared: Arc::downgrade(&self.shared),
            orders: None,
            greeted: false,
        };
        // The thread that listens wakes this one when the worker is gone; the sender is that of any converter.
        ear.orders = self.shared.converters.lock().orders.clone();
        let mut process = Process::spawn(&options.program, options.patience, move |body| ear.hear(body))?;
        let counts = &self.shared.counts;
        counts.starts.fetch_add(1, Relaxed);
        counts.workers.store(1, Relaxed);
        counts.pid.store(process.id(), Relaxed);
        self.wire.clear();
        let hello = Request::Hello {
            version: VERSION,
            memory: options.memory,
            threads: options.threads,
        };
        // One that is gone already is noticed by the next that is written.
        if hello.write(&mut self.wire).is_ok() {
            let _ = process.write(&self.wire);
        }
        Ok(process)
    }

    /// Writes to the worker until it fails or nobody needs it.
    fn serve(&mut self, mut process: Process) -> End {
        let mut looked = Instant::now();
        let end = loop {
            let order = self.orders.recv_timeout(LOOK);
            self.wire.clear();
            let mut next = order.ok();
            let look = matches!(next, None | Some(Order::Look)) || looked.elapsed() >= LOOK;
            while let Some(order) = next {
                self.write(order);
                next = if self.wire.len() < WRITE_LEN {
                    self.orders.try_recv().ok()
                } else {
                    None
                };
            }
            if look {
                looked = Instant::now();
                if self.look().is_break() {
                    break End::Idle;
                }
                if self.is_stuck() {
                    break End::Stuck;
                }
            }
            if process.write(&self.wire).is_err() || process.is_gone() {
                break End::Gone;
            }
        };
        let counts = &self.shared.counts;
        counts.pid.store(0, Relaxed);
        let Ended { how, killed, used } = process.end();
        counts.workers.store(0, Relaxed);
        counts.cpu.fetch_add(used.as_millis().try_into().unwrap_or(0), Relaxed);
        let stuck = matches!(end, End::Stuck);
        if stuck || matches!(end, End::Gone) {
            let why = if stuck { "it does not answer" } else { "it ended" };
            tracing::warn!("a worker that re-encodes sound is replaced: {why} ({how})");
            self.orphan(stuck || !killed);
        }
        end
    }

    /// Puts the words of an order behind those that wait to be written.
    fn write(&mut self, order: Order) {
        let (link, request) = match order {
            Order::Look => return,
            Order::Packet(link, pts, payload) => {
                let id = link.id;
                (link, Request::Packet { id, pts, payload })
            }
            Order::Finish(link) => {
                let id = link.id;
                (link, Request::Flush { id })
            }
        };
        let packet = matches!(request, Request::Packet { .. });
        let wanted = !link.is_closed() && !link.has_failed() && self.enter(&link);
        if packet && !(wanted && link.send(Instant::now())) {
            link.drop_one();
            self.shared.counts.packets_lost.fetch_add(1, Relaxed);
        } else if wanted && let Err(error) = request.write(&mut self.wire) {
            // Its length was looked at when it was taken.
            tracing::error!(path = link.path(), "a packet cannot be said to a worker: {error}");
            self.shared
                .counts
                .packets_lost
                .fetch_add(link.fail(Instant::now()), Relaxed);
        }
    }

    /// The worker knows the converter from here on.
    fn enter(&mut self, link: &Link) -> bool {
        if !link.is_in(self.worker) {
            let open = Request::Open {
                id: link.id,
                source: link.source.clone(),
                target: link.target,
            };
            if link.enter(self.worker) {
                // A message of five bytes is never too long.
                let _ = Request::Close { id: link.id }.write(&mut self.wire);
            }
            if let Err(error) = open.write(&mut self.wire) {
                tracing::warn!(path = link.path(), "sound is not re-encoded: {error}");
                link.fail(Instant::now());
                return false;
            }
        }
        true
    }

    /// Forgets converters that were dropped. Breaks when there have been none for long enough; then no thread has orders.
    fn look(&mut self) -> ControlFlow<()> {
        let mut converters = self.shared.converters.lock();
        let (wire, worker) = (&mut self.wire, self.worker);
        converters.by_id.retain(|id, link| {
            let closed = link.is_closed();
            if closed && link.is_in(worker) {
                // A message of five bytes is never too long.
                let _ = Request::Close { id: *id }.write(wire);
            }
            !closed
        });
        if !converters.by_id.is_empty() {
            self.idle_since = None;
            return ControlFlow::Continue(());
        }
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() < self.shared.options.idle {
            return ControlFlow::Continue(());
        }
        converters.orders = None;
        ControlFlow::Break(())
    }

    fn is_stuck(&self) -> bool {
        let Some(since) = Instant::now().checked_sub(self.shared.options.patience) else {
            return false;
        };
        let converters = self.shared.converters.lock();
        converters.by_id.values().any(|link| link.owes_since(since))
    }

    /// The worker is gone: what it had is lost, and its converters wait for the next. It may have been the sound of one.
    fn orphan(&self, by_sound: bool) {
        let converters = self.shared.converters.lock();
        for link in converters.by_id.values().filter(|link| link.is_in(self.worker)) {
            let (lost, goes_on) = link.orphaned(by_sound, Instant::now());
            self.shared.counts.packets_lost.fetch_add(lost, Relaxed);
            if !goes_on {
                tracing::error!(
                    path = link.path(),
                    "sound is not re-encoded for a minute: it ends every worker that gets it"
                );
            }
        }
    }

    /// Leaves out what waits for a worker that ended soon after the one before. All at once, nobody could tell whose sound
    /// ends the next.
    fn skip(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Look => {}
                Order::Packet(link, ..) => {
                    link.drop_one();
                    self.shared.counts.packets_lost.fetch_add(1, Relaxed);
                }
                Order::Finish(link) => link.give_up(),
            }
        }
    }

    /// Lets the pause go by. What converters send waits meanwhile, as much as may be under way.
    fn wait(&mut self, pause: Duration) -> ControlFlow<()> {
        let until = Instant::now() + pause;
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            thread::sleep(left.min(LOOK));
            self.wire.clear();
            self.look()?;
        }
        ControlFlow::Continue(())
    }
}

/// Hears what a worker says, on the thread that listens to it.
struct Ear {
    shared: Weak<Shared>,
    orders: Option<Orders>,
    greeted: bool,
}

impl Ear {
    /// False when the worker is not to be listened to any more.
    fn hear(&mut self, body: Option<Bytes>) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        let Some(body) = body else {
            if let Some(orders) = &self.orders {
                orders.look();
            }
            return false;
        };
        Answer::parse(body).is_ok_and(|answer| self.take(&shared, answer) != Judged::Absurd)
    }

    fn take(&mut self, shared: &Shared, answer: Answer) -> Judged {
        let link = |id| shared.converters.lock().by_id.get(&id).cloned();
        let now = Instant::now();
        if !self.greeted {
            self.greeted = true;
            return match answer {
                Answer::Hello { version: VERSION } => Judged::Good(0),
                _ => Judged::Absurd,
            };
        }
        // Converters that are not there any more had packets on their way.
        let judged = match answer {
            Answer::Hello { .. } | Answer::Picture { .. } => Judged::Absurd,
            Answer::Opened { id, parameters } => {
                link(id).map(|link| link.opened(&parameters)).unwrap_or(Judged::Good(0))
            }
            Answer::Converted { id, problem, packets } => {
                shared
                    .counts
                    .packets_broken
                    .fetch_add(problem.is_some().into(), Relaxed);
                link(id)
                    .map(|link| link.converted(packets, now))
                    .unwrap_or(Judged::Good(0))
            }
            Answer::Flushed { id, packets } => link(id).map(|link| link.flushed(packets)).unwrap_or(Judged::Good(0)),
            Answer::Failed { id, problem, words } => {
                if let Some(link) = link(id) {
                    let words: String = words.chars().filter(|letter| !letter.is_control()).collect();
                    tracing::warn!(path = link.path(), "sound is not re-encoded: {problem}: {words}");
                    shared.counts.packets_lost.fetch_add(link.fail(now), Relaxed);
                }
                Judged::Good(0)
            }
        };
        if let Judged::Good(made) = judged {
            shared.counts.packets_out.fetch_add(made, Relaxed);
        }
        judged
    }
}
