//! Transcoders: plugins that say what becomes of each track, when a stream begins and when its tracks change.
//!
//! They come behind the filters, in the order of the list, each with the tracks that the one before left. Every question has an
//! instance of its own: it is asked once a stream, and one that waited for the next would only take memory. The work on the
//! codecs is the host's; what it cannot do leaves the track as it is, and [`apply`] is the one place that knows which that is.

use std::sync::Arc;

use wasmtx_hub::Opening;
use wasmtx_media::{Track, TrackId, Tracks};

use crate::{
    bindings::transcoder::transcoder as wit,
    entry::Slot,
    failure::{Failure, Refused},
    host::log::clean,
    instance,
    metrics::{Place, count},
    policy::TranscoderFailure,
};

/// Plans that are looked at; a stream has at most 16 tracks.
const PLANS: usize = 128;
/// Bytes of a codec's name.
const CODEC_LEN: usize = 64;

/// What a transcoder wants of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It goes on as it is.
    Keep,
    /// It goes nowhere.
    Drop,
    /// It goes on in another form.
    Replace(Target),
    /// It goes on, and in another form beside.
    Add(Target),
}

/// A form of a track. Zeros mean "as the source".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As the API names it ("Opus", "MPEG-4 Audio").
    pub codec: String,
    /// Bits per second.
    pub bitrate: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Channels of sound.
    pub channels: u32,
    /// Samples of sound per second.
    pub sample_rate: u32,
}

/// What a transcoder said about a track, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The track's id.
    pub track: u32,
    /// The plan.
    pub plan: Plan,
    /// Whether it is carried out. Otherwise the track goes on as it is.
    pub done: bool,
}

impl Plan {
    /// The word of the contract.
    pub fn name(&self) -> &'static str {
        match self {
            Plan::Keep => "keep",
            Plan::Drop => "drop",
            Plan::Replace(_) => "replace",
            Plan::Add(_) => "add",
        }
    }

    /// The form that is asked for, if one is.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Plan::Keep | Plan::Drop => None,
            Plan::Replace(target) | Plan::Add(target) => Some(target),
        }
    }
}

/// One transcoder of one stream.
pub(crate) struct Planner {
    slot: Arc<Slot>,
    place: Arc<Place>,
}

impl Planner {
    pub(crate) fn new(slot: &Arc<Slot>, path: &str) -> Planner {
        Planner {
            slot: slot.clone(),
            place: slot.plugin.place(path, slot.position),
        }
    }

    /// The plugin's name.
    pub(crate) fn name(&self) -> &str {
        self.slot.plugin.name()
    }

    /// Asks the plugin. Answers the tracks that go on.
    ///
    /// # Errors
    /// The reason why the stream may not go on.
    pub(crate) fn open(&self, opening: &Opening) -> Result<Tracks, String> {
        count(&self.place.counts.calls);
        let version = self.slot.plugin.version.load_full();
        let config = self.slot.config.as_deref().unwrap_or(&version.config);
        let said = instance::decide(&self.slot.plugin.common, &self.place, &version, config, opening);
        let planned = said.and_then(|plans| Ok(apply(plans, &opening.tracks)?));
        let (plugin, path) = (self.name(), opening.path.as_str());
        let failure = match planned {
            Ok((planned, tracks)) => {
                for planned in planned.iter().filter(|planned| !planned.done) {
                    let (track, plan) = (planned.track, planned.plan.name());
                    tracing::warn!(
                        plugin,
                        path,
                        track,
                        plan,
                        target = planned.plan.target().map(tracing::field::debug),
                        "the server cannot re-encode yet: the track goes on as it is"
                    );
                }
                *self.place.plan.lock() = planned;
                return Ok(tracks);
            }
            Err(Refused::Unsupported) => return Ok(self.keep(opening)),
            Err(refused) => refused.into_failure(),
        };
        failure.count(&self.place);
        self.slot.plugin.common.note_failure(path, &failure);
        tracing::warn!(plugin, path, call = "decide", %failure, "plugin fails");
        match self.slot.on_error.unwrap_or(version.on_error).transcoder {
            TranscoderFailure::Keep => Ok(self.keep(opening)),
            TranscoderFailure::Close => Err(format!("it fails, and its policy is to close the stream: {failure}")),
        }
    }

    fn keep(&self, opening: &Opening) -> Tracks {
        self.place.plan.lock().clear();
        opening.tracks.clone()
    }
}

/// Turns what a plugin said into what the stream becomes: the plans, each with what came of it, and the tracks that go on.
/// A codec worker begins here: what it takes on is `done`, and its tracks join those that go on.
fn apply(said: Vec<(u32, wit::Plan)>, tracks: &Tracks) -> Result<(Vec<Planned>, Tracks), Failure> {
    let mut planned = Vec::<Planned>::new();
    for (track, said) in said.into_iter().take(PLANS) {
        let known = tracks.iter().any(|known| known.id.0 == track);
        let plan = plan(said);
        // Of several plans for the track itself the first counts; additions are beside it.
        let decided = |other: &Planned| other.track == track && !matches!(other.plan, Plan::Add(_));
        if !known || (!matches!(plan, Plan::Add(_)) && planned.iter().any(decided)) {
            continue;
        }
        let done = plan.target().is_none();
        planned.push(Planned { track, plan, done });
    }
    let dropped = |id: TrackId| {
        let mut plans = planned.iter();
        plans.any(|planned| planned.track == id.0 && planned.plan == Plan::Drop)
    };
    let left: Vec<Track> = tracks.iter().filter(|track| !dropped(track.id)).cloned().collect();
    if left.is_empty() {
        return Err(Failure::other("it would leave no track"));
    }
    let tracks = if left.len() == tracks.len() {
        tracks.clone()
    } else {
        left.into()
    };
    Ok((planned, tracks))
}

fn plan(said: wit::Plan) -> Plan {
    let target = |target: wit::Target| Target {
        codec: clean(&target.codec, CODEC_LEN),
        bitrate: target.bitrate,
        width: target.width,
        height: target.height,
        channels: target.channels,
        sample_rate: target.sample_rate,
    };
    match said {
        wit::Plan::Keep => Plan::Keep,
        wit::Plan::Drop => Plan::Drop,
        wit::Plan::Replace(to) => Plan::Replace(target(to)),
        wit::Plan::Add(to) => Plan::Add(target(to)),
    }
}

#[cfg(test)]
mod tests {
    use wasmtx_media::{Codec, Kind};

    use super::*;

    fn tracks(ids: &[u32]) -> Tracks {
        let track = |id: &u32| Track {
            id: TrackId(*id),
            kind: Kind::Audio,
            codec: Codec::Opus { channels: 2 },
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: None,
        };
        ids.iter().map(track).collect()
    }

    fn target(codec: &str) -> wit::Target {
        wit::Target {
            codec: codec.to_owned(),
            bitrate: 0,
            width: 0,
            height: 0,
            channels: 0,
            sample_rate: 0,
        }
    }

    #[test]
    fn what_is_dropped_goes_and_what_cannot_be_done_stays() {
        let all = tracks(&[1, 2, 3]);
        let said = vec![
            (1, wit::Plan::Drop),
            (2, wit::Plan::Replace(target("Opus"))),
            (3, wit::Plan::Add(target("H264"))),
        ];
        let (planned, left) = apply(said, &all).unwrap();
        assert_eq!(left, tracks(&[2, 3]));
        let done: Vec<_> = planned
            .iter()
            .map(|planned| (planned.plan.name(), planned.done))
            .collect();
        assert_eq!(done, [("drop", true), ("replace", false), ("add", false)]);
    }

    #[test]
    fn a_track_without_a_plan_and_a_plan_without_a_track_change_nothing() {
        let all = tracks(&[1, 2]);
        let (planned, left) = apply(vec![(7, wit::Plan::Drop), (2, wit::Plan::Keep)], &all).unwrap();
        assert!(Arc::ptr_eq(&left, &all));
        assert_eq!(planned.len(), 1);
    }

    #[test]
    fn of_plans_that_contradict_each_other_the_first_counts() {
        let all = tracks(&[1, 2]);
        let said = vec![
            (1, wit::Plan::Keep),
            (1, wit::Plan::Drop),
            (1, wit::Plan::Add(target("\u{1b}[31mH264\0"))),
            (1, wit::Plan::Add(target(&"x".repeat(1_000)))),
        ];
        let (planned, left) = apply(said, &all).unwrap();
        assert_eq!((left.len(), planned.len()), (2, 3));
        assert_eq!(planned[1].plan.target().unwrap().codec, " [31mH264 ");
        assert_eq!(planned[2].plan.target().unwrap().codec.len(), CODEC_LEN);
    }

    #[test]
    fn some_track_always_stays_and_the_number_of_plans_is_bounded() {
        assert!(apply(vec![(1, wit::Plan::Drop)], &tracks(&[1])).is_err());
        let many = vec![(1, wit::Plan::Add(target("H264"))); 10_000];
        assert_eq!(apply(many, &tracks(&[1])).unwrap().0.len(), PLANS);
    }
}
