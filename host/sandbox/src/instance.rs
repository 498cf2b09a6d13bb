//! One running filter: a store, its exports, and the deadline before every call.
//!
//! After a failure the instance is dead and must be dropped; nothing here tries to use it again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::Store;
use wasmtx_hub::{CloseReason, Opening};
use wasmtx_media::{Frame, Tracks};

use crate::{
    bindings::{
        filter::{
            Filtering,
            filter::{Interest, Verdict},
            lifecycle::Snapshot,
        },
        plugin::types::PluginError,
        transcoder::transcoder::Plan,
    },
    component::Code,
    convert, deadline,
    engine::epochs,
    failure::{Failure, Refused},
    hits::Limit,
    host::{Common, State, frame},
    limits::{Limits, SHORTEST_TICK},
    metrics::Place,
    version::Version,
};

/// A store with all bounds set, and the first deadline: without one, the first instruction traps.
pub(crate) fn store(code: &Code, state: State, first: Duration) -> Store<State> {
    let mut store = Store::new(&code.clocked.engine, state);
    store.limiter(|state| &mut state.meter);
    let (hostcall, handles) = (store.data().limits.hostcall, store.data().limits.handles);
    store.set_hostcall_fuel(hostcall);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(epochs(first));
    store
}

/// How long a synchronous call may take, and the bound that says so.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    epochs: u64,
    limit: Limit,
}

impl Deadline {
    fn new(time: Duration, limit: Limit) -> Deadline {
        Deadline {
            epochs: epochs(time),
            limit,
        }
    }
}

/// Runs a guest, and takes a panic of the host's own functions for a failure of the instance.
fn run<R>(
    store: &mut Store<State>,
    deadline: Deadline,
    call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
) -> Result<R, Failure> {
    store.set_epoch_deadline(deadline.epochs);
    store.data_mut().overtime = None;
    store.data().ticker.begin();
    let called = catch_unwind(AssertUnwindSafe(|| call(store)));
    store.data().ticker.end();
    match called {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => {
            let failure = Failure::of(&error, store.data().meter.refused());
            Err(failure.timed(deadline.limit, deadline.limit))
        }
        Err(panic) => Err(Failure::panicked(&*panic)),
    }
}

/// Whether a state of so many bytes may be handed over.
pub(crate) fn snapshot_fits(len: usize, limits: &Limits) -> Result<(), Failure> {
    let most = limits.snapshot;
    if len <= most {
        return Ok(());
    }
    let words = format!("its state has {len} bytes, at most {most} go over (snapshot)");
    Err(Failure::other(words).against(Limit::Snapshot))
}

/// Configures an instance that does nothing else.
pub(crate) fn configure_only(common: &Arc<Common>, version: &Version, config: &str) -> Result<(), Refused> {
    let place = Arc::new(Place::default());
    let state = State::new(common.clone(), place, version);
    let mut store = store(&version.code, state, version.limits.open);
    deadline::by_running_time(&mut store);
    let deadline = Deadline::new(version.limits.open, Limit::Configure);
    let calls = run(&mut store, deadline, |store| {
        version.code.configuring.instantiate(store)
    })?;
    run(&mut store, deadline, |store| {
        calls.wasmtx_plugin_lifecycle().call_configure(store, config)
    })??;
    Ok(())
}

/// Asks a transcoder, with an instance that does nothing else.
pub(crate) fn decide(
    common: &Arc<Common>,
    place: &Arc<Place>,
    version: &Version,
    config: &str,
    opening: &Opening,
) -> Result<Vec<(u32, Plan)>, Refused> {
    let Some(pre) = &version.code.transcoder else {
        return Err(Failure::other("the component is no transcoder").into());
    };
    let publication = convert::publication(opening, &version.grants);
    let state = State::new(common.clone(), place.clone(), version);
    let mut store = store(&version.code, state, version.limits.open);
    deadline::by_running_time(&mut store);
    let deadline = Deadline::new(version.limits.open, Limit::Configure);
    let calls = run(&mut store, deadline, |store| pre.instantiate(store))?;
    run(&mut store, deadline, |store| {
        calls.wasmtx_plugin_lifecycle().call_configure(store, config)
    })??;
    let plans = run(&mut store, deadline, |store| {
        calls.wasmtx_plugin_transcoder().call_decide(store, &publication)
    })??;
    Ok(plans)
}

/// What `open` said.
pub(crate) struct Opened {
    pub(crate) interests: Vec<Interest>,
    pub(crate) tracks: Tracks,
}

/// What `restore` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// The new instance goes on where the old one was.
    Whole,
    /// It cannot read the old state and begins afresh.
    Fresh,
}

/// A running filter.
pub(crate) struct Guest {
    store: Store<State>,
    calls: Filtering,
    frame_limit: Duration,
    frame_deadline: Deadline,
    open_deadline: Deadline,
    state_deadline: Deadline,
    tick_deadline: Deadline,
    /// Frames that one call may emit.
    emits: usize,
    tick: Option<Duration>,
    next_tick: Option<Instant>,
}

impl Guest {
    /// Instantiates and configures.
    pub(crate) fn start(
        common: &Arc<Common>,
        place: &Arc<Place>,
        version: &Version,
        config: &str,
    ) -> Result<Guest, Refused> {
        let Some(pre) = &version.code.filter else {
            return Err(Failure::other("the component is no filter").into());
        };
        let limits = &version.limits;
        let state = State::new(common.clone(), place.clone(), version);
        let mut store = store(&version.code, state, limits.open);
        deadline::by_running_time(&mut store);
        let open_deadline = Deadline::new(limits.open, Limit::Configure);
        let calls = run(&mut store, open_deadline, |store| pre.instantiate(store))?;
        let wishes = run(&mut store, open_deadline, |store| {
            calls.wasmtx_plugin_lifecycle().call_configure(store, config)
        })??;
        let tick = wishes
            .tick
            .map(|millis| Duration::from_millis(millis.into()).max(SHORTEST_TICK));
        Ok(Guest {
            store,
            calls,
            frame_limit: limits.frame,
            frame_deadline: Deadline::new(limits.frame, Limit::Call),
            state_deadline: Deadline::new(limits.state, Limit::State),
            tick_deadline: Deadline::new(limits.tick, Limit::Tick),
            emits: limits.emits,
            open_deadline,
            tick,
            next_tick: None,
        })
    }

    pub(crate) fn open(&mut self, opening: &Opening) -> Result<Opened, Refused> {
        let publication = convert::publication(opening, &self.store.data().grants);
        let calls = &self.calls;
        let said = run(&mut self.store, self.open_deadline, |store| {
            calls.wasmtx_plugin_filter().call_open(store, &publication)
        })??;
        let tracks = convert::tracks(&opening.tracks, said.tracks).map_err(Failure::other)?;
        self.store.data_mut().frame.tracks = tracks.iter().map(|track| track.id).collect();
        Ok(Opened {
            interests: said.interests,
            tracks,
        })
    }

    /// Shows the guest a frame and gives it back, changed if the guest said so. The frames to send before it are in
    /// [`emitted`](Self::emitted).
    #[inline]
    pub(crate) fn frame(&mut self, now: Instant, frame: Frame) -> (Result<Said, Failure>, Frame) {
        let info = frame::info(&frame);
        self.store.data_mut().not_before = Some(now + self.frame_limit);
        let at_hand = &mut self.store.data_mut().frame;
        at_hand.frame = Some(frame);
        at_hand.emits = self.emits;
        let calls = &self.calls;
        let verdict = run(&mut self.store, self.frame_deadline, |store| {
            calls.wasmtx_plugin_filter().call_frame(store, info)
        });
        let at_hand = &mut self.store.data_mut().frame;
        at_hand.emits = 0;
        let spliced = at_hand.spliced.take();
        let frame = at_hand.frame.take().expect("set above, and no host function takes it");
        let said = match verdict {
            Ok(Verdict::Pass) => match spliced {
                None => Ok(Said::Pass),
                Some(payload) => return (Ok(Said::Changed), Frame { payload, ..frame }),
            },
            Ok(Verdict::Drop) => Ok(Said::Drop),
            Ok(Verdict::Close) => Ok(Said::Close),
            Err(failure) => {
                at_hand.emitted.clear();
                Err(failure)
            }
        };
        (said, frame)
    }

    /// Frames that the last call emitted, in order. Whoever takes them leaves the vector empty.
    #[inline]
    pub(crate) fn emitted(&mut self) -> &mut Vec<Frame> {
        &mut self.store.data_mut().frame.emitted
    }

    pub(crate) fn close(&mut self, reason: CloseReason) -> Result<(), Failure> {
        let state = self.store.data_mut();
        state.frame.emits = state.limits.held_frames;
        let calls = &self.calls;
        let reason = convert::close_reason(reason);
        let result = run(&mut self.store, self.open_deadline, |store| {
            calls.wasmtx_plugin_filter().call_close(store, reason)
        });
        let at_hand = &mut self.store.data_mut().frame;
        at_hand.emits = 0;
        if result.is_err() {
            at_hand.emitted.clear();
        }
        result
    }

    /// The state to hand over, if there is any.
    pub(crate) fn save(&mut self) -> Result<Option<Snapshot>, Failure> {
        let calls = &self.calls;
        let saved = run(&mut self.store, self.state_deadline, |store| {
            calls.wasmtx_plugin_lifecycle().call_save(store)
        })?;
        if let Some(snapshot) = &saved {
            snapshot_fits(snapshot.data.len(), &self.store.data().limits)?;
        }
        Ok(saved)
    }

    pub(crate) fn restore(&mut self, snapshot: &Snapshot) -> Result<Restored, Refused> {
        let calls = &self.calls;
        let restored = run(&mut self.store, self.state_deadline, |store| {
            calls.wasmtx_plugin_lifecycle().call_restore(store, snapshot)
        })?;
        match restored {
            Ok(()) => Ok(Restored::Whole),
            Err(PluginError::Unsupported) => Ok(Restored::Fresh),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets a tick happen that is due. Ticks come between frames: a stream that stands still has none.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(interval) = self.tick else { return Ok(()) };
        match self.next_tick {
            Some(due) if now < due => return Ok(()),
            Some(_) => {
                let calls = &self.calls;
                run(&mut self.store, self.tick_deadline, |store| {
                    // Read inside the call, so that it is the same clock that the guest sees.
                    let now = crate::bindings::plugin::clock::Host::now(store.data_mut());
                    calls.wasmtx_plugin_lifecycle().call_tick(store, now)
                })?;
            }
            None => {}
        }
        self.next_tick = Some(now + interval);
        Ok(())
    }

    /// Bytes of memory, and of frames held.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.store.data();
        (state.meter.memory(), state.frame.held_bytes())
    }
}

/// What the guest said to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The frame goes on as it is.
    Pass,
    /// It goes on with the guest's payload.
    Changed,
    /// It ends here.
    Drop,
    /// The publication ends here.
    Close,
}
