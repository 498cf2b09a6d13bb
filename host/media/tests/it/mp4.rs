//! MP4: every codec that can be written is decoded as before it was, and a recording that was cut off is played as far as
//! it goes.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::{
    Codec, Flags, Frame, Kind, Track, TrackId, Tracks,
    codec::pcm,
    container::mp4::{self, Movie, Segment, Step, Writer},
};

use super::tool::{converted_samples, decoded, ffprobe, made};

const PICTURES: &str = "-f lavfi -i testsrc2=size=160x96:rate=10:duration=2";
const SOUND: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=2";
const FRAGMENTED: &str = "-f mp4 -movflags frag_keyframe+empty_moov+delay_moov";

/// A film of FFmpeg's making.
fn film(line: &str) -> Movie {
    mp4::read(&made(&format!("{line} {FRAGMENTED}")).into()).unwrap()
}

fn frames(steps: &[Step]) -> impl Iterator<Item = &Frame> {
    steps.iter().filter_map(|step| match step {
        Step::Frame(frame) => Some(frame),
        Step::Tracks(_) => None,
    })
}

/// The same film as a recorder writes it: the header, and a part for every `count` frames.
fn recorded(tracks: &[Track], steps: &[Step], count: usize) -> (Vec<u8>, Vec<usize>) {
    let segment = Segment {
        stream: *b"0123456789abcdef",
        number: 0,
        dts: 0,
        wall: 1_795_392_000_000_000_000,
    };
    let mut writer = Writer::segment(tracks, segment).unwrap();
    for track in tracks {
        let mut of_track = frames(steps).filter(|frame| frame.track == track.id);
        writer.begin(track.id, 0, of_track.next().unwrap().dts.min(0));
    }
    let mut parts = BytesMut::new();
    let mut ends = Vec::new();
    for (number, frame) in (1..).zip(frames(steps)) {
        writer.push(frame).unwrap();
        if number % count == 0 {
            writer
                .part()
                .iter()
                .flat_map(|part| part.chunks())
                .for_each(|chunk| parts.put_slice(chunk));
            ends.push(parts.len());
        }
    }
    let mut file = writer.header().unwrap().to_vec();
    writer
        .finish()
        .iter()
        .flat_map(|part| part.chunks())
        .for_each(|chunk| parts.put_slice(chunk));
    ends.push(parts.len());
    let ends = ends.into_iter().map(|end| file.len() + end).collect();
    file.extend_from_slice(&parts);
    (file, ends)
}

/// Encoded with the words of `codec`, written and read again, a film is what it was.
#[track_caller]
fn check(input: &str, codec: &str, name: &str) {
    let line = format!("{input} {codec}");
    let made = made(&format!("{line} {FRAGMENTED}"));
    let movie = mp4::read(&made.clone().into()).unwrap();
    assert_eq!(movie.tracks[0].codec.name(), name);
    let (file, _) = recorded(&movie.tracks, &movie.steps, 7);
    let (before, after) = (decoded(&made), decoded(&file));
    assert_eq!((before.len() > 10, after.len()), (true, before.len()), "{line}");
    // An encoder's run-in is left out of the first frame of Opus, which a recording of something that runs does not have.
    let same = usize::from(name == "Opus");
    assert_eq!(after[same..], before[same..], "{line}");
    let entries = "-show_entries stream=codec_name,width,height,sample_rate,channels";
    assert_eq!(ffprobe(entries, &file), ffprobe(entries, &made), "{line}");
    let again = mp4::read(&file.into()).unwrap();
    let essence = |movie: &Movie| {
        let essence = |frame: &Frame| (frame.pts, frame.flags, frame.payload.clone());
        frames(&movie.steps).map(essence).collect::<Vec<_>>()
    };
    assert_eq!(again.tracks[0].codec, movie.tracks[0].codec);
    assert_eq!(essence(&again), essence(&movie), "{line}");
}

#[test]
fn pictures_of_every_codec_are_decoded_as_they_were() {
    check(PICTURES, "-c:v libx264 -preset ultrafast -g 10", "H264");
    check(PICTURES, "-c:v libx264 -preset veryfast -bf 2 -g 10", "H264");
    check(
        PICTURES,
        "-c:v libx265 -preset ultrafast -g 10 -x265-params log-level=none",
        "H265",
    );
    check(PICTURES, "-c:v libaom-av1 -cpu-used 8 -g 10", "AV1");
    check(PICTURES, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 10", "VP9");
    check(PICTURES, "-c:v mjpeg -pix_fmt yuvj420p", "M-JPEG");
}

#[test]
fn sound_of_every_codec_is_decoded_as_it_was() {
    check(SOUND, "-c:a aac", "MPEG-4 Audio");
    check(SOUND, "-c:a libmp3lame", "MPEG-1/2 Audio");
    check(SOUND, "-c:a ac3", "AC3");
    check(SOUND, "-c:a ac3 -ac 6", "AC3");
    check(SOUND, "-c:a flac -strict -2", "FLAC");
    check(SOUND, "-c:a libopus", "Opus");
    for channels in [2, 6, 8] {
        check(SOUND, &format!("-c:a libopus -mapping_family 1 -ac {channels}"), "Opus");
    }
}

#[test]
fn samples_without_compression_are_read_as_they_were() {
    let tracks: Tracks = [Track {
        id: TrackId(1),
        kind: Kind::Audio,
        codec: Codec::G711 {
            mu_law: false,
            sample_rate: 8_000,
            channels: 1,
        },
        clock_rate: 8_000,
        extra: Vec::new(),
        derived: None,
    }]
    .into();
    assert!(!Writer::carries(&tracks[0].codec));
    let sound = made(&format!("{SOUND} -ar 8000 -f alaw"));
    // FFmpeg's own tables are the judge of ours.
    let expected = converted_samples(&sound, "-f alaw -ar 8000 -guess_layout_max 0", "-f s16be");
    let linear = pcm::to_linear(&tracks[0].codec, &sound);
    assert_eq!(linear, expected);
    let of_mu_law = Codec::G711 {
        mu_law: true,
        sample_rate: 8_000,
        channels: 1,
    };
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(
        pcm::to_linear(&of_mu_law, &all),
        converted_samples(&all, "-f mulaw -ar 8000 -guess_layout_max 0", "-f s16be")
    );
    let codec = pcm::linear(&tracks[0].codec).unwrap();
    check_samples(codec, &linear, "s16be");
    let deep = Codec::Lpcm {
        bit_depth: 24,
        sample_rate: 48_000,
        channels: 2,
    };
    check_samples(deep, &made(&format!("{SOUND} -ac 2 -f s24be")), "s24be");
}

/// Samples of a linear codec, in packets as RTP has them, come out of a file as they were.
#[track_caller]
fn check_samples(codec: Codec, samples: &[u8], form: &str) {
    let Codec::Lpcm {
        bit_depth,
        sample_rate,
        channels,
    } = codec
    else {
        panic!("{codec:?}")
    };
    let track = Track {
        id: TrackId(1),
        kind: Kind::Audio,
        codec: codec.clone(),
        clock_rate: sample_rate,
        extra: Vec::new(),
        derived: None,
    };
    let packet = 160 * usize::from(bit_depth / 8) * usize::from(channels);
    let packets = (0i64..).zip(samples.chunks_exact(packet));
    let frame = |(number, packet): (i64, &[u8])| Frame {
        track: TrackId(1),
        number: 0,
        pts: number * 160,
        dts: number * 160,
        duration: 160,
        wall: None,
        flags: Flags::KEY,
        payload: Bytes::copy_from_slice(packet).into(),
    };
    let steps: Vec<_> = packets.map(frame).map(Step::Frame).collect();
    let (file, _) = recorded(&[track], &steps, 50);
    let whole = steps.len() * packet;
    let heard = converted_samples(&file, "-f mp4 -guess_layout_max 0", &format!("-f {form}"));
    assert_eq!(heard, samples[..whole]);
    let again = mp4::read(&file.into()).unwrap();
    assert_eq!((&again.tracks[0].codec, &again.steps), (&codec, &steps));
}

#[test]
fn a_recording_that_was_cut_off_is_played_as_far_as_its_parts_go() {
    let movie = film(&format!(
        "{PICTURES} {SOUND} -c:v libx264 -preset ultrafast -g 10 -c:a aac"
    ));
    let (file, ends) = recorded(&movie.tracks, &movie.steps, 12);
    let [.., before, last_but_one, all] = ends[..] else {
        panic!("{ends:?}")
    };
    assert_eq!(all, file.len());
    for end in before..all {
        let cut = &file[..end];
        let read = |at: u64, len: usize| {
            let from = cut.len().min(at as usize);
            Ok::<_, Infallible>(Bytes::copy_from_slice(&cut[from..cut.len().min(from + len)]))
        };
        let Ok(whole) = mp4::whole(end as u64, read);
        let kept = if end < last_but_one { before } else { last_but_one };
        assert_eq!(whole.len, kept as u64, "cut at {end}");
    }
    let packets = |len: usize| {
        let mut packets = ffprobe("-show_entries packet=stream_index,pts,size", &file[..len]);
        packets.sort_unstable();
        packets
    };
    let everything = packets(all);
    for len in [before, last_but_one] {
        let kept = packets(len);
        let movie = mp4::read(&file[..len].to_vec().into()).unwrap();
        assert_eq!((movie.missing, frames(&movie.steps).count()), (0, kept.len()));
        assert!(kept.iter().all(|packet| everything.binary_search(packet).is_ok()));
        assert!(decoded(&file[..len]).len() > 30);
    }
}
