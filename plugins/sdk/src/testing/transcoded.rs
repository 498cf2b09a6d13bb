//! What becomes of a stream's tracks by a transcoder's plans.

use super::stream::inline;
use crate::transcoder::{Plan, Target, Transcoder};
use crate::{Error, Publication, Track};

/// Asks a transcoder and answers the tracks that readers are then offered: those of the source that stay, and what is made of one in its place or
/// behind it, with ids above the source's in the order of the plans. A plan for a track that there is not, or a second one beside what is not an addition, is an error, as in the server.
pub fn transcoded(plugin: &mut impl Transcoder, publication: Publication) -> Result<Vec<Track>, Error> {
    let mut tracks = publication.tracks.clone();
    let mut planned = Vec::new();
    let mut ended = Vec::new();
    let mut next = tracks.iter().map(|track| track.id).max().unwrap_or_default();
    let known: Vec<u32> = tracks.iter().map(|track| track.id).collect();
    for (id, plan) in inline(|| plugin.decide(publication))? {
        let place = tracks.iter().position(|track| track.id == id);
        let place = place.filter(|_| known.contains(&id));
        let place = place.ok_or_else(|| Error::other(format!("there is no track {id}")))?;
        let is_addition = matches!(plan, Plan::Add(_));
        if !is_addition {
            if planned.contains(&id) {
                return Err(Error::other(format!("two plans for track {id}")));
            }
            planned.push(id);
        }
        if matches!(plan, Plan::Drop | Plan::Replace(_)) {
            ended.push(id);
        }
        if let Plan::Add(target) | Plan::Replace(target) = plan {
            next += 1;
            let track = coded(&tracks[place], &target);
            let behind = tracks[place + 1..].iter().position(|track| known.contains(&track.id));
            let behind = behind.map_or(tracks.len(), |more| place + 1 + more);
            tracks.insert(behind, Track { id: next, ..track });
        }
    }
    tracks.retain(|track| !ended.contains(&track.id));
    Ok(tracks)
}

/// The track, as the target has it where that says something.
fn coded(track: &Track, target: &Target) -> Track {
    let or = |value: u32, source: u32| if value == 0 { source } else { value };
    Track {
        codec: if target.codec.is_empty() {
            &track.codec
        } else {
            &target.codec
        }
        .clone(),
        width: or(target.width, track.width),
        height: or(target.height, track.height),
        channels: or(target.channels, track.channels),
        sample_rate: or(target.sample_rate, track.sample_rate),
        parameters: Vec::new(),
        ..track.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{h264, opus, publication};
    use crate::{NoConfig, Plugin};

    /// Has these plans, whatever it is asked.
    struct Plans(Vec<(u32, Plan)>);

    impl Plugin for Plans {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, Error> {
            Ok(Self(Vec::new()))
        }
    }

    impl Transcoder for Plans {
        fn decide(&mut self, _: Publication) -> Result<Vec<(u32, Plan)>, Error> {
            Ok(self.0.clone())
        }
    }

    fn check(plans: impl Into<Vec<(u32, Plan)>>) -> Result<Vec<Track>, Error> {
        transcoded(&mut Plans(plans.into()), publication("cam", [h264(1), opus(2)]))
    }

    #[test]
    fn a_track_that_is_not_named_is_kept() {
        assert_eq!(check([]).unwrap(), [h264(1), opus(2)]);
        assert_eq!(check([(2, Plan::Keep)]).unwrap(), [h264(1), opus(2)]);
        assert_eq!(check([(2, Plan::Drop)]).unwrap(), [h264(1)]);
    }

    #[test]
    fn what_a_target_does_not_say_is_as_in_the_source() {
        let aac = Target::codec("MPEG-4 Audio")
            .channels(1)
            .sample_rate(44_100)
            .bitrate(64_000);
        let tracks = check([(2, Plan::Replace(aac)), (1, Plan::Replace(Target::codec("")))]).unwrap();
        assert_eq!(tracks[0].id, 4, "whatever is made has an id of its own");
        assert_eq!((tracks[0].codec.as_str(), tracks[0].width), ("H264", 1280));
        let sound = &tracks[1];
        assert_eq!((sound.id, sound.codec.as_str()), (3, "MPEG-4 Audio"));
        assert_eq!((sound.channels, sound.sample_rate), (1, 44_100));
        assert!(sound.parameters.is_empty(), "they are the encoder's to say");
    }

    #[test]
    fn added_tracks_come_behind_what_they_are_made_of() {
        let small = || Plan::Add(Target::codec("H264").size(640, 360));
        let tracks = check([(1, small()), (1, Plan::Keep), (1, small())]).unwrap();
        let named: Vec<_> = tracks.iter().map(|track| (track.id, track.width)).collect();
        assert_eq!(named, [(1, 1280), (3, 640), (4, 640), (2, 0)]);
    }

    #[test]
    fn plans_that_make_no_sense_are_errors() {
        assert!(check([(3, Plan::Keep)]).is_err());
        assert!(check([(1, Plan::Keep), (1, Plan::Keep)]).is_err());
        assert!(check([(1, Plan::Drop), (1, Plan::Keep)]).is_err());
    }
}
