//! Transcoders: plugins that say what becomes of each track, when a stream begins and when its tracks change.
//!
//! They come behind the filters, in the order of the list, each with the tracks that the one before left. Every question has an
//! instance of its own: it is asked once a stream, and one that waited for the next would only take memory. The work on the
//! codecs is the host's: [`Planning`] knows what of a plan can be done, [`Makings`] does it, and what cannot be done leaves
//! the track as it is.

mod making;
mod plan;

use std::sync::{Arc, mpsc};

use wasmtx_hub::Opening;
use wasmtx_media::Tracks;

pub use self::plan::{Plan, Planned, Target};
pub(crate) use self::{
    making::Makings,
    plan::{Job, Planning},
};
use crate::{
    aside::Aside,
    bindings::transcoder::transcoder as wit,
    convert::same_shape,
    entry::Slot,
    failure::Refused,
    instance,
    metrics::{Condition, Place, count},
    policy::TranscoderFailure,
    version::Version,
};

/// What a plugin said about some tracks.
#[derive(Clone)]
pub(crate) struct Said {
    tracks: Tracks,
    /// None when it failed, or has nothing to do with them: they go on as they are.
    plans: Arc<[(u32, wit::Plan)]>,
    condition: Condition,
}

/// One transcoder of one stream.
pub(crate) struct Planner {
    slot: Arc<Slot>,
    place: Arc<Place>,
    /// What it said last, and holds as long as it is asked about the same tracks.
    said: Option<Said>,
    /// Number of the last version that was asked.
    tried: u64,
    /// A newer version should be asked.
    wanted: bool,
    asking: Option<mpsc::Receiver<Answer>>,
}

/// What a newer version says about the tracks of a running stream.
struct Answer {
    version: Arc<Version>,
    tracks: Tracks,
    plans: Result<Plans, Refused>,
}

type Plans = Vec<(u32, wit::Plan)>;

impl Planner {
    pub(crate) fn new(slot: &Arc<Slot>, path: &str) -> Planner {
        Planner {
            slot: slot.clone(),
            place: slot.plugin.place(path, slot.position),
            said: None,
            tried: 0,
            wanted: false,
            asking: None,
        }
    }

    /// The plugin's name.
    pub(crate) fn name(&self) -> &str {
        self.slot.plugin.name()
    }

    /// Where it is counted what comes of its plans.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Asks the plugin about the tracks so far, unless it has said what it thinks of them, and takes its plans into account.
    ///
    /// # Errors
    /// The reason why the stream may not go on.
    pub(crate) fn open(
        &mut self,
        number: usize,
        opening: &Opening,
        planning: &mut Planning<'_>,
    ) -> Result<Vec<Planned>, String> {
        let tracks = planning.tracks();
        let said = match self.said.take() {
            Some(said) if said.tracks == tracks => said,
            before => self.ask(opening, tracks, before)?,
        };
        self.place.counts.set(said.condition);
        let planned = match planning.apply(number, &said.plans) {
            Ok(planned) => planned,
            Err(failure) => {
                self.failed(opening, failure.into())?;
                self.place.counts.set(Condition::Failed);
                Vec::new()
            }
        };
        self.said = Some(said);
        Ok(planned)
    }

    /// Shows what comes of its plans, and says what does not.
    pub(crate) fn show(&self, opening: &Opening, planned: Vec<Planned>) {
        let mut shown = self.place.plan.lock();
        if *shown == planned {
            return;
        }
        for planned in planned.iter().filter(|planned| !planned.done) {
            tracing::warn!(
                plugin = self.name(),
                path = opening.path.as_str(),
                track = planned.track,
                plan = planned.plan.name(),
                target = planned.plan.target().map(tracing::field::debug),
                reason = planned.reason,
                "the track goes on as it is"
            );
        }
        *shown = planned;
    }

    /// What the plugin says about these tracks. One that fails where it did not before, about the same tracks with other
    /// parameters, is taken at its former word: readers that hear what it planned stay.
    fn ask(&mut self, opening: &Opening, tracks: Tracks, before: Option<Said>) -> Result<Said, String> {
        let version = self.slot.plugin.version.load_full();
        (self.tried, self.wanted, self.asking) = (version.number, false, None);
        let opening = Opening {
            tracks,
            ..opening.clone()
        };
        let nothing = |condition| Said {
            tracks: opening.tracks.clone(),
            plans: Arc::from([]),
            condition,
        };
        if !version.enabled {
            return Ok(nothing(Condition::Disabled));
        }
        match decide(&self.slot, &self.place, &version, &opening) {
            Ok(plans) => Ok(Said {
                plans: plans.into(),
                ..nothing(Condition::Running)
            }),
            Err(Refused::Unsupported) => Ok(nothing(Condition::Unsupported)),
            Err(refused) => {
                self.failed(&opening, refused)?;
                let nothing = nothing(Condition::Failed);
                let before = before.filter(|before| same_shape(&before.tracks, &nothing.tracks));
                Ok(Said {
                    plans: before.map_or(nothing.plans, |before| before.plans),
                    ..nothing
                })
            }
        }
    }

    /// Counts a failure, says it, and does what the policy says: the error is why the stream may not go on.
    fn failed(&self, opening: &Opening, refused: Refused) -> Result<(), String> {
        let (failure, path) = (refused.into_failure(), opening.path.as_str());
        failure.count(&self.place);
        self.slot.plugin.common.note_failure(path, &failure);
        tracing::warn!(plugin = self.name(), path, call = "decide", %failure, "plugin fails");
        let version = self.slot.plugin.version.load();
        match self.slot.on_error.unwrap_or(version.on_error).transcoder {
            TranscoderFailure::Keep => Ok(()),
            TranscoderFailure::Close => Err(format!("it fails, and its policy is to close the stream: {failure}")),
        }
    }

    /// The stream ends.
    pub(crate) fn close(&mut self) {
        self.asking = None;
        self.place.counts.set(Condition::Idle);
    }

    /// Looks whether the plugin changed.
    pub(crate) fn look(&mut self) {
        self.wanted |= self.slot.plugin.version.load().number != self.tried;
    }

    /// Whether [`attend`](Self::attend) has something to do, now or later.
    pub(crate) fn needs_attention(&self) -> bool {
        self.wanted || self.asking.is_some()
    }

    /// Brings the question to a new version forward, aside. Answers what it said, when it has, and whether that may change
    /// the tracks of the running stream.
    pub(crate) fn attend(&mut self, opening: &Opening, aside: &Aside) -> Option<(Said, bool)> {
        let answer = self.asking.as_ref().map(mpsc::Receiver::try_recv);
        let mut news = None;
        match answer {
            None | Some(Err(mpsc::TryRecvError::Empty)) => {}
            Some(Err(mpsc::TryRecvError::Disconnected)) => {
                self.asking = None;
                self.keep("it was not asked");
            }
            Some(Ok(Answer { version, tracks, plans })) => {
                self.asking = None;
                let (plans, condition) = match plans {
                    _ if !version.enabled => (Vec::new(), Condition::Disabled),
                    Ok(plans) => (plans, Condition::Running),
                    Err(Refused::Unsupported) => (Vec::new(), Condition::Unsupported),
                    Err(refused) => {
                        self.keep(&refused.to_string());
                        return None;
                    }
                };
                let said = Said {
                    tracks,
                    plans: plans.into(),
                    condition,
                };
                let allowed = self.slot.allow_track_change.unwrap_or(version.allow_track_change);
                news = Some((said, allowed));
            }
        }
        if self.wanted && self.asking.is_none() {
            self.begin(opening, aside);
        }
        news
    }

    fn begin(&mut self, opening: &Opening, aside: &Aside) {
        let Some(said) = &self.said else { return };
        let version = self.slot.plugin.version.load_full();
        let (number, slot, place) = (version.number, self.slot.clone(), self.place.clone());
        let opening = Opening {
            tracks: said.tracks.clone(),
            ..opening.clone()
        };
        let (done, asking) = mpsc::sync_channel(1);
        let taken = aside.spawn(move || {
            let plans = if version.enabled {
                decide(&slot, &place, &version, &opening)
            } else {
                Ok(Vec::new())
            };
            let tracks = opening.tracks;
            // The stream may have ended meanwhile.
            let _ = done.send(Answer { version, tracks, plans });
        });
        if taken {
            (self.asking, self.wanted, self.tried) = (Some(asking), false, number);
        }
    }

    /// Puts what was said in the place of what was said before, which it answers.
    pub(crate) fn adopt(&mut self, said: Option<Said>) -> Option<Said> {
        std::mem::replace(&mut self.said, said)
    }

    /// What the version before said stays, and why is said.
    pub(crate) fn keep(&self, reason: &str) {
        self.slot.plugin.keep(self.place.path(), reason);
    }
}

fn decide(slot: &Slot, place: &Arc<Place>, version: &Arc<Version>, opening: &Opening) -> Result<Plans, Refused> {
    count(&place.counts.calls);
    let config = slot.config.as_deref().unwrap_or(&version.config);
    instance::decide(&slot.plugin.common, place, version, config, opening)
}
