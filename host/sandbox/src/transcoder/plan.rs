//! What becomes of a stream's tracks: the plans of its transcoders, one after the other, and the work they make.

use wasmtx_hub::MAX_TRACKS;
use wasmtx_media::{Track, TrackId, Tracks};

use crate::{
    bindings::transcoder::transcoder as wit,
    failure::Failure,
    host::log::clean,
    services::{Codecs, Form},
};

/// Plans of one plugin that are looked at; a stream has at most 16 tracks.
const PLANS: usize = 128;
/// Bytes of a codec's name.
const CODEC_LEN: usize = 64;
/// Bytes of the reason why a plan is not carried out.
const REASON_LEN: usize = 256;

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
#[non_exhaustive]
pub struct Planned {
    /// The track's id.
    pub track: u32,
    /// The plan.
    pub plan: Plan,
    /// Whether it is carried out. Otherwise the track goes on as it is.
    pub done: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// The id of the track that it makes.
    pub made: Option<u32>,
    /// Whether that track is being made now: one that is only added is while somebody takes it.
    pub running: bool,
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

    fn said(said: &wit::Plan) -> Plan {
        let target = |target: &wit::Target| Target {
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
}

/// A track that is to be made of another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) source: Track,
    /// Its id.
    pub(crate) made: TrackId,
    pub(crate) form: Form,
    /// Which of the stream's transcoders asked for it.
    pub(crate) planner: usize,
    /// Whether it is made although nobody takes it: it stands in the place of its source.
    pub(crate) always: bool,
}

/// The tracks of a stream on their way through its transcoders.
pub(crate) struct Planning<'a> {
    codecs: &'a dyn Codecs,
    /// Those that go on so far, what is made behind what it is made of.
    tracks: Vec<Track>,
    jobs: Vec<Job>,
    /// The first id that is free; those above are, too.
    free: Option<u32>,
}

impl<'a> Planning<'a> {
    pub(crate) fn new(codecs: &'a dyn Codecs, tracks: &Tracks) -> Planning<'a> {
        let highest = tracks.iter().map(|track| track.id.0).max();
        Planning {
            codecs,
            tracks: tracks.to_vec(),
            jobs: Vec::new(),
            free: highest.unwrap_or(0).checked_add(1),
        }
    }

    /// The tracks that the next transcoder is asked about.
    pub(crate) fn tracks(&self) -> Tracks {
        self.tracks.iter().cloned().collect()
    }

    /// Takes what a plugin said into account, and tells what comes of each plan.
    ///
    /// # Errors
    /// No track would be left. Then nothing has changed.
    pub(crate) fn apply(&mut self, planner: usize, said: &[(u32, wit::Plan)]) -> Result<Vec<Planned>, Failure> {
        let before = (self.tracks.clone(), self.jobs.len(), self.free);
        let (mut planned, mut ended) = (Vec::<Planned>::new(), Vec::new());
        for (track, said) in said.iter().take(PLANS) {
            let plan = Plan::said(said);
            // Of several plans for the track itself the first counts; additions are beside it.
            let decided = |other: &Planned| other.track == *track && !matches!(other.plan, Plan::Add(_));
            let repeated = !matches!(plan, Plan::Add(_)) && planned.iter().any(decided);
            let Some(source) = before.0.iter().find(|known| known.id.0 == *track) else {
                continue;
            };
            if repeated {
                continue;
            }
            let made = plan
                .target()
                .map(|target| self.make(planner, source, target))
                .transpose();
            if made.is_ok() && matches!(plan, Plan::Drop | Plan::Replace(_)) {
                ended.push(source.id);
            }
            planned.push(Planned {
                track: *track,
                plan,
                done: made.is_ok(),
                made: made.as_ref().ok().copied().flatten(),
                reason: made.err(),
                running: false,
            });
        }
        self.tracks.retain(|track| !ended.contains(&track.id));
        if self.tracks.is_empty() {
            (self.tracks, self.free) = (before.0, before.2);
            self.jobs.truncate(before.1);
            return Err(Failure::other("it would leave no track"));
        }
        self.jobs.retain(|job| !ended.contains(&job.made));
        Ok(planned)
    }

    /// Adds a track that is made of `source`; answers its id, or why it cannot be.
    fn make(&mut self, planner: usize, source: &Track, target: &Target) -> Result<u32, String> {
        if self.jobs.iter().any(|job| job.made == source.id) {
            return Err("the track is made by a plugin itself".to_owned());
        }
        if self.tracks.len() >= MAX_TRACKS {
            return Err(format!("a stream has at most {MAX_TRACKS} tracks"));
        }
        let form = self.codecs.form(source, target);
        let form = form.map_err(|reason| clean(&reason, REASON_LEN))?;
        let id = self.free.ok_or("no track id is free")?;
        self.free = id.checked_add(1);
        let family = |track: &Track| track.id == source.id || track.derived == Some(source.id);
        let last = self.tracks.iter().rposition(family);
        let place = last.map_or(self.tracks.len(), |last| last + 1);
        self.tracks.insert(
            place,
            Track {
                id: TrackId(id),
                codec: form.codec.clone(),
                clock_rate: form.clock_rate,
                derived: Some(source.id),
                ..source.clone()
            },
        );
        self.jobs.push(Job {
            source: source.clone(),
            made: TrackId(id),
            form,
            planner,
            always: false,
        });
        Ok(id)
    }

    /// The tracks that go on, and what is to be made. A track whose source goes nowhere stands in its place: it is not
    /// offered beside anything, and always made.
    pub(crate) fn finish(mut self) -> (Tracks, Vec<Job>) {
        let ids: Vec<TrackId> = self.tracks.iter().map(|track| track.id).collect();
        for job in &mut self.jobs {
            job.always = !ids.contains(&job.source.id);
        }
        for track in &mut self.tracks {
            track.derived = track.derived.filter(|source| ids.contains(source));
        }
        (self.tracks.into(), self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use wasmtx_media::{Codec, Kind};

    use super::*;
    use crate::services::Converter;

    /// Makes Opus of anything, and nothing else.
    struct OpusOnly;

    impl Codecs for OpusOnly {
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        fn form(&self, _: &Track, target: &Target) -> Result<Form, String> {
            match target.codec.as_str() {
                "Opus" => Ok(Form {
                    codec: Codec::Opus { channels: 1 },
                    clock_rate: 48_000,
                    bitrate: target.bitrate,
                }),
                other => Err(format!("no encoder for {other}\n")),
            }
        }

        fn open(&self, _: &str, _: &Track, _: &Form) -> Box<dyn Converter> {
            unreachable!("a plan opens nothing")
        }
    }

    fn tracks(ids: &[u32]) -> Tracks {
        let track = |id: &u32| Track {
            id: TrackId(*id),
            kind: Kind::Audio,
            codec: Codec::Opus { channels: 2 },
            clock_rate: 8_000,
            extra: vec![("language".to_owned(), "de".to_owned())],
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

    fn add(codec: &str) -> wit::Plan {
        wit::Plan::Add(target(codec))
    }

    fn replace(codec: &str) -> wit::Plan {
        wit::Plan::Replace(target(codec))
    }

    /// Ids that go on, with those of their sources.
    type Shown = Vec<(u32, Option<u32>)>;
    /// Ids that are made, and whether always or on demand.
    type Made = Vec<(u32, bool)>;

    fn outcome(planning: Planning<'_>) -> (Shown, Made) {
        let (tracks, jobs) = planning.finish();
        let derived = |track: &Track| (track.id.0, track.derived.map(|source| source.0));
        let jobs = jobs.iter().map(|job| (job.made.0, job.always));
        (tracks.iter().map(derived).collect(), jobs.collect())
    }

    #[test]
    fn what_is_dropped_goes_and_what_cannot_be_done_stays_and_says_why() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[1, 2, 3]));
        let said = [(1, wit::Plan::Drop), (2, replace("H264")), (3, add("MP3"))];
        let planned = planning.apply(0, &said).unwrap();
        let told: Vec<_> = planned
            .iter()
            .map(|planned| (planned.plan.name(), planned.done, planned.reason.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("drop", true, None),
                ("replace", false, Some("no encoder for H264 ")),
                ("add", false, Some("no encoder for MP3 "))
            ]
        );
        assert_eq!(outcome(planning), (vec![(2, None), (3, None)], vec![]));
    }

    #[test]
    fn what_is_added_is_offered_behind_its_source_and_what_replaces_it_stands_in_its_place() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[5, 2, 3]));
        let said = [(5, replace("Opus")), (2, add("Opus")), (2, add("Opus"))];
        let planned = planning.apply(0, &said).unwrap();
        let made: Vec<_> = planned.iter().map(|planned| planned.made).collect();
        assert_eq!(made, [Some(6), Some(7), Some(8)], "ids above all others");
        let made = planning.tracks().iter().find(|track| track.id.0 == 6).cloned().unwrap();
        assert_eq!((made.codec, made.clock_rate), (Codec::Opus { channels: 1 }, 48_000));
        assert_eq!(made.extra, tracks(&[1])[0].extra);
        assert_eq!(
            outcome(planning),
            (
                vec![(6, None), (2, None), (7, Some(2)), (8, Some(2)), (3, None)],
                vec![(6, true), (7, false), (8, false)]
            )
        );
    }

    #[test]
    fn one_transcoder_sees_what_the_one_before_left_and_makes_nothing_of_what_it_made() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[1, 2]));
        planning.apply(0, &[(1, add("Opus")), (2, add("Opus"))]).unwrap();
        let said = [(3, add("Opus")), (4, wit::Plan::Drop), (1, wit::Plan::Drop)];
        let planned = planning.apply(1, &said).unwrap();
        assert_eq!(
            planned[0].reason.as_deref(),
            Some("the track is made by a plugin itself")
        );
        assert_eq!(
            outcome(planning),
            (vec![(3, None), (2, None)], vec![(3, true)]),
            "what is dropped is not made, and what is left of a dropped track is not offered but there"
        );
    }

    #[test]
    fn a_track_without_a_plan_and_a_plan_without_a_track_change_nothing() {
        let all = tracks(&[1, 2]);
        let mut planning = Planning::new(&OpusOnly, &all);
        let said = [(7, wit::Plan::Drop), (7, add("Opus")), (2, wit::Plan::Keep)];
        assert_eq!(planning.apply(0, &said).unwrap().len(), 1);
        assert_eq!(planning.finish(), (all, vec![]));
    }

    #[test]
    fn of_plans_that_contradict_each_other_the_first_counts() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[1, 2]));
        let said = [
            (1, wit::Plan::Keep),
            (1, wit::Plan::Drop),
            (1, add("\u{1b}[31mH264\0")),
            (1, add(&"x".repeat(1_000))),
        ];
        let planned = planning.apply(0, &said).unwrap();
        assert_eq!((planning.tracks().len(), planned.len()), (2, 3));
        assert_eq!(planned[1].plan.target().unwrap().codec, " [31mH264 ");
        assert_eq!(planned[2].plan.target().unwrap().codec.len(), CODEC_LEN);
    }

    #[test]
    fn some_track_always_stays() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[1, 2]));
        let all = [(1, wit::Plan::Drop), (2, wit::Plan::Drop)];
        assert!(planning.apply(0, &all).is_err());
        assert!(
            planning
                .apply(0, &[all.as_slice(), &[(1, add("H264"))]].concat())
                .is_err()
        );
        assert_eq!(outcome(planning), (vec![(1, None), (2, None)], vec![]));
    }

    #[test]
    fn plans_tracks_and_ids_are_bounded() {
        let mut planning = Planning::new(&OpusOnly, &tracks(&[1]));
        let planned = planning.apply(0, &vec![(1, add("Opus")); 10_000]).unwrap();
        assert_eq!(planned.len(), PLANS);
        assert_eq!(planning.tracks().len(), MAX_TRACKS);
        assert_eq!(planned.iter().filter(|planned| planned.done).count(), MAX_TRACKS - 1);
        let mut planning = Planning::new(&OpusOnly, &tracks(&[u32::MAX]));
        let planned = planning.apply(0, &[(u32::MAX, add("Opus"))]).unwrap();
        assert_eq!(planned[0].reason.as_deref(), Some("no track id is free"));
    }
}
