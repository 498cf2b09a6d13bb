//! Which tracks a player is given, by what it can take.

use wasmtx_media::{Codec, Kind, Track, readable};

use super::coding::{four_cc, legacy_audio};

/// Tracks of one kind that are sent to one player.
const MAX_TRACKS: usize = 16;

/// What a player takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The FourCCs it knows.
    four_ccs: Vec<&'static [u8; 4]>,
    /// It said so itself.
    asked: bool,
    multitrack: bool,
    /// G711 and LPCM, where there is nothing better.
    telephony: bool,
}

/// How well a player takes a track; the smallest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    Enhanced,
    Telephony,
}

impl Capabilities {
    /// A player that said nothing: H264 with AAC or MP3, one of each; G711 and LPCM where there is no better sound.
    pub fn legacy() -> Capabilities {
        Capabilities {
            four_ccs: Vec::new(),
            asked: true,
            multitrack: false,
            telephony: true,
        }
    }

    /// A player that said which FourCCs it `carries`, and whether it takes several tracks of a kind.
    pub fn enhanced(carries: impl Fn(&str) -> bool, multitrack: bool) -> Capabilities {
        let known = ENHANCED.into_iter();
        let known = known.filter(|four_cc| str::from_utf8(*four_cc).is_ok_and(&carries));
        Capabilities {
            four_ccs: known.collect(),
            multitrack,
            ..Capabilities::legacy()
        }
    }

    /// A player over HTTP, which cannot say anything: the classic form of a track where it has one (the AAC that was
    /// made from Opus), else its FourCC; one track of each kind. Browsers play no telephony.
    pub fn web() -> Capabilities {
        Capabilities {
            four_ccs: ENHANCED.into_iter().filter(|four_cc| *four_cc != b"vp08").collect(),
            asked: false,
            multitrack: false,
            telephony: false,
        }
    }

    fn rank(&self, codec: &Codec) -> Option<Rank> {
        match codec {
            Codec::H264(_) | Codec::Aac(_) | Codec::Mp3 { .. } => Some(Rank::Good),
            _ if four_cc(codec).is_some_and(|four_cc| self.four_ccs.contains(&four_cc)) => {
                Some(if self.asked { Rank::Good } else { Rank::Enhanced })
            }
            _ if self.telephony && legacy_audio(codec).is_some() => Some(Rank::Telephony),
            _ => None,
        }
    }
}

const ENHANCED: [&[u8; 4]; 10] = [
    b"avc1", b"hvc1", b"av01", b"vp08", b"vp09", b"mp4a", b".mp3", b"ac-3", b"Opus", b"fLaC",
];

/// The tracks that a player is given, and those that it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Pictures, then sound; of each kind the best first, then in the publisher's order. Empty when the player can take nothing of the stream.
    pub tracks: Vec<Track>,
    /// For the log: number and codec of each of the publisher's tracks that is missing.
    pub left_out: Vec<String>,
}

impl Choice {
    /// Of the tracks of a publication.
    pub fn of(tracks: &[Track], capabilities: &Capabilities) -> Choice {
        let carries = |track: &Track| {
            let rank = capabilities.rank(&track.codec);
            let best = forms(tracks, track)
                .filter_map(|form| capabilities.rank(&form.codec))
                .min();
            rank.is_some() && rank == best
        };
        let mut choice = Choice::default();
        let candidates = readable(tracks, carries);
        for kind in [Kind::Video, Kind::Audio] {
            let of_kind = candidates.iter().copied().filter(|track| track.kind == kind);
            // The best, and of those the publisher's first.
            let Some(first) = of_kind.clone().min_by_key(|track| capabilities.rank(&track.codec)) else {
                continue;
            };
            choice.tracks.push(first.clone());
            // What stands behind a track number is named by its FourCC.
            let others = of_kind.filter(|track| track.id != first.id && four_cc(&track.codec).is_some());
            let room = if capabilities.multitrack { MAX_TRACKS } else { 0 };
            choice.tracks.extend(others.take(room).cloned());
        }
        let is_missing = |track: &&Track| {
            let is_there = |form: &Track| choice.tracks.iter().any(|chosen| chosen.id == form.id);
            track.derived.is_none() && !forms(tracks, track).any(is_there)
        };
        let missing = tracks.iter().filter(is_missing);
        choice.left_out = missing
            .map(|track| format!("track {} ({})", track.id.0, track.codec.name()))
            .collect();
        choice
    }

    /// A number for the bytes that a player of this choice is sent: equal for equal tracks.
    pub fn variant(&self) -> u64 {
        // FNV-1a.
        self.tracks.iter().fold(0xcbf2_9ce4_8422_2325, |hash, track| {
            (hash ^ u64::from(track.id.0)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Whether there is a track of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.tracks.iter().any(|track| track.kind == kind)
    }
}

/// A track, the one that it was made from, and the others that were.
fn forms<'a>(tracks: &'a [Track], of: &Track) -> impl Iterator<Item = &'a Track> {
    let source = of.derived.unwrap_or(of.id);
    let is_form = move |track: &&Track| track.id == source || track.derived == Some(source);
    tracks.iter().filter(is_form)
}

#[cfg(test)]
mod tests {
    use wasmtx_media::TrackId;
    use wasmtx_media::codec::aac;

    use super::*;

    fn aac() -> Codec {
        Codec::Aac(aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 2).unwrap())
    }

    fn opus() -> Codec {
        Codec::Opus { channels: 2 }
    }

    fn g711() -> Codec {
        Codec::G711 {
            mu_law: true,
            sample_rate: 8_000,
            channels: 1,
        }
    }

    fn tracks(codecs: &[(Codec, Option<u32>)]) -> Vec<Track> {
        let numbered = (1..).zip(codecs);
        let tracks = numbered.map(|(id, (codec, derived))| Track {
            id: TrackId(id),
            kind: codec.kind(),
            codec: codec.clone(),
            clock_rate: 48_000,
            extra: vec![],
            derived: derived.map(TrackId),
        });
        tracks.collect()
    }

    fn check(codecs: &[(Codec, Option<u32>)], capabilities: &Capabilities, ids: &[u32], left_out: &[&str]) {
        let choice = Choice::of(&tracks(codecs), capabilities);
        assert_eq!(choice.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(), ids);
        assert_eq!(choice.left_out, left_out);
    }

    #[test]
    fn a_legacy_player_gets_one_h264_and_one_aac_track() {
        let h264 = Codec::H264(Default::default());
        let all = [
            (Codec::Vp9, None),
            (h264.clone(), None),
            (h264, None),
            (opus(), None),
            (aac(), None),
            (aac(), None),
        ];
        let left_out = [
            "track 1 (VP9)",
            "track 3 (H264)",
            "track 4 (Opus)",
            "track 6 (MPEG-4 Audio)",
        ];
        check(&all, &Capabilities::legacy(), &[2, 5], &left_out);
        check(&all[..1], &Capabilities::legacy(), &[], &left_out[..1]);
    }

    #[test]
    fn made_tracks_stand_in_for_what_a_player_cannot_take() {
        let offered = [(opus(), None), (aac(), Some(1))];
        check(&offered, &Capabilities::legacy(), &[2], &[]);
        check(&offered, &Capabilities::web(), &[2], &[]);
        check(&offered[..1], &Capabilities::web(), &[1], &[]);
        check(&offered, &Capabilities::enhanced(|_| true, false), &[1], &[]);
        check(
            &offered,
            &Capabilities::enhanced(|four_cc| four_cc == "hvc1", false),
            &[2],
            &[],
        );
    }

    #[test]
    fn telephony_is_for_players_that_can_have_nothing_better() {
        let offered = [(g711(), None), (aac(), Some(1))];
        check(&offered, &Capabilities::legacy(), &[2], &[]);
        check(&offered[..1], &Capabilities::legacy(), &[1], &[]);
        check(&offered[..1], &Capabilities::web(), &[], &["track 1 (G711)"]);
    }

    #[test]
    fn of_several_tracks_of_a_kind_the_best_is_played() {
        let h264 = Codec::H264(Default::default());
        let camera = [(g711(), None), (h264.clone(), None), (aac(), None)];
        check(&camera, &Capabilities::legacy(), &[2, 3], &["track 1 (G711)"]);
        let both = [(Codec::Vp9, None), (h264, None), (opus(), None), (aac(), None)];
        check(
            &both,
            &Capabilities::web(),
            &[2, 4],
            &["track 1 (VP9)", "track 3 (Opus)"],
        );
        check(&both[..1], &Capabilities::web(), &[1], &[]);
        check(&[(Codec::Vp8, None)], &Capabilities::web(), &[], &["track 1 (VP8)"]);
    }

    #[test]
    fn several_tracks_of_a_kind_need_a_player_that_asked_for_them() {
        let all = [(Codec::Vp8, None), (opus(), None), (aac(), None), (g711(), None)];
        check(
            &all,
            &Capabilities::enhanced(|_| true, true),
            &[1, 2, 3],
            &["track 4 (G711)"],
        );
        let left_out = ["track 3 (MPEG-4 Audio)", "track 4 (G711)"];
        check(&all, &Capabilities::enhanced(|_| true, false), &[1, 2], &left_out);
    }

    #[test]
    fn players_of_the_same_tracks_share_their_bytes() {
        let all = tracks(&[(Codec::H264(Default::default()), None), (aac(), None), (opus(), None)]);
        let variant = |capabilities| Choice::of(&all, &capabilities).variant();
        let modern = Capabilities::enhanced(|_| true, false);
        assert_eq!(variant(Capabilities::legacy()), variant(modern));
        assert_ne!(
            variant(Capabilities::legacy()),
            variant(Capabilities::enhanced(|_| true, true))
        );
    }
}
