//! Checks what an RTMP or FLV reader gets: every frame's stamp or number, and when asked every picture's bytes.

use wasmtx_media::nal;

use crate::{
    chunks::{AUDIO, VIDEO},
    sequence::Sequence,
    sound,
    stamp::Stamp,
    verify::{Depth, Summary, Whole, digest},
};

// FLV (Adobe's specification 10.1), section E.4.
const AVC: u8 = 7;
const AAC: u8 = 10;
/// AVCPacketType and AACPacketType of what is no configuration.
const CODED: u8 = 1;
/// Format, packet type and composition offset before a picture.
const AVC_HEAD: usize = 5;
const AAC_HEAD: usize = 2;
/// NAL units of a picture among which its stamp is looked for.
const MAX_STAMP_PLACE: usize = 4;

/// The checks of one reader.
#[derive(Debug)]
pub(crate) struct Tags {
    pictures: Sequence,
    sounds: Sequence,
    depth: Depth,
    summary: Summary,
}

impl Tags {
    /// Nothing came yet.
    pub(crate) fn new(depth: Depth) -> Tags {
        Tags {
            pictures: Sequence::new(),
            sounds: Sequence::new(),
            depth,
            summary: Summary::default(),
        }
    }

    /// A tag arrived. Answers the frame in it.
    pub(crate) fn handle(&mut self, kind: u8, body: &[u8]) -> Option<Whole> {
        match (kind, body) {
            (VIDEO, [first, CODED, ..]) if first & 0x8f == AVC => {
                let payload = body.get(AVC_HEAD..).unwrap_or_default();
                let Some(stamp) = nal::iter(payload).take(MAX_STAMP_PLACE).find_map(Stamp::of_nal) else {
                    self.summary.unstamped += 1;
                    return Some(Whole::Unstamped);
                };
                self.pictures.note(u64::from(stamp.number));
                let changed = self.depth == Depth::All && digest(payload) != stamp.digest;
                self.summary.corrupted += u64::from(changed);
                Some(Whole::Stamped(stamp))
            }
            (AUDIO, [first, CODED, ..]) if first >> 4 == AAC => {
                match sound::number_of(body.get(AAC_HEAD..).unwrap_or_default()) {
                    Some(number) => drop(self.sounds.note(u64::from(number))),
                    None => self.summary.unstamped += 1,
                }
                Some(Whole::Unstamped)
            }
            (VIDEO | AUDIO, []) => {
                self.summary.malformed += 1;
                None
            }
            // Configurations, metadata, and what a server says of itself.
            _ => None,
        }
    }

    /// One above the highest picture that came.
    pub(crate) fn next_picture(&self) -> Option<u64> {
        self.pictures.next()
    }

    /// What became of the frames, when the last picture was just below `end`.
    pub(crate) fn summary(&self, end: Option<u64>) -> Summary {
        let mut summary = self.summary;
        summary.frames.add(self.pictures.counts(end));
        summary.frames.add(self.sounds.counts(None));
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clip::{Clip, Shape},
        sound::Sound,
    };

    fn picture(clip: &Clip, number: u32) -> Vec<u8> {
        [&[0x27, CODED, 0, 0, 0], &clip.frame(0, number, 7).payload[..]].concat()
    }

    fn clip() -> Clip {
        let shape = Shape {
            bitrate: 100_000,
            fps: 25.0,
            gop: 10,
        };
        Clip::synthetic(shape).unwrap()
    }

    #[test]
    fn pictures_and_sound_are_counted_by_their_numbers() {
        let (clip, sound) = (clip(), Sound::new(64_000).unwrap());
        let mut tags = Tags::new(Depth::All);
        let config = [&[0x17, 0, 0, 0, 0][..], b"configuration"].concat();
        assert_eq!(tags.handle(VIDEO, &config), None);
        for number in [5, 6, 8] {
            assert!(
                matches!(tags.handle(VIDEO, &picture(&clip, number)), Some(Whole::Stamped(stamp)) if stamp.number == number)
            );
        }
        for number in [2, 3] {
            let body = [&[0xaf, CODED], &sound.frame(number).payload[..]].concat();
            assert_eq!(tags.handle(AUDIO, &body), Some(Whole::Unstamped));
        }
        let summary = tags.summary(Some(10));
        assert_eq!((summary.frames.received, summary.frames.lost), (5, 2));
        assert_eq!((summary.corrupted, summary.unstamped), (0, 0));
        assert_eq!(tags.next_picture(), Some(9));
    }

    #[test]
    fn a_changed_or_foreign_frame_is_counted() {
        let mut tags = Tags::new(Depth::All);
        let mut body = picture(&clip(), 0);
        *body.last_mut().unwrap() ^= 1;
        tags.handle(VIDEO, &body);
        tags.handle(VIDEO, &[0x17, CODED, 0, 0, 0, 0, 0, 0, 2, 0x65, 1]);
        tags.handle(AUDIO, &[0xaf, CODED, 1, 2]);
        tags.handle(VIDEO, &[0x17, CODED]);
        tags.handle(VIDEO, &[]);
        let summary = tags.summary(None);
        assert_eq!((summary.corrupted, summary.unstamped, summary.malformed), (1, 3, 1));
    }
}
