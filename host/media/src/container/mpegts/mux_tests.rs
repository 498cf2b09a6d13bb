use super::super::{
    packet::{PACKET, Packet},
    section::PAT_PID,
};
use super::*;
use crate::{Flags, codec::aac};

fn track(id: u32, codec: Codec, clock_rate: u32) -> Track {
    Track {
        id: TrackId(id),
        kind: codec.kind(),
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    }
}

fn video() -> Track {
    let parameters = h264::Parameters {
        sps: vec![0x67, 1, 2, 3].into(),
        pps: vec![0x68, 4].into(),
    };
    track(1, Codec::H264(parameters), 90_000)
}

fn audio() -> Track {
    track(2, Codec::Aac(aac::Config::new(2, 48_000, 2).unwrap()), 48_000)
}

fn frame(track: u32, dts: i64, flags: Flags, payload: &[u8]) -> Frame {
    Frame {
        track: TrackId(track),
        number: 0,
        pts: dts,
        dts,
        duration: 0,
        wall: None,
        flags,
        payload: payload.to_vec().into(),
    }
}

const PICTURE: &[u8] = &[0, 0, 0, 3, 0x41, 0x9a, 7];
const KEY_PICTURE: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];

fn packets(out: &[u8]) -> Vec<Packet<'_>> {
    assert_eq!(out.len() % PACKET, 0);
    let packets = out.chunks(PACKET).map(|packet| packet.try_into().unwrap());
    packets.map(|packet| Packet::parse(packet).unwrap()).collect()
}

fn pids(out: &[u8]) -> Vec<u16> {
    packets(out).iter().map(|packet| packet.pid).collect()
}

/// The clock of each packet that tells one.
fn clocks(out: &[u8]) -> Vec<u64> {
    let packets = out
        .chunks(PACKET)
        .filter(|packet| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0);
    packets
        .map(|packet| {
            u64::from_be_bytes([0, 0, packet[6], packet[7], packet[8], packet[9], packet[10], packet[11]]) >> 15
        })
        .collect()
}

#[test]
fn a_keyframe_comes_behind_the_tables_with_delimiter_and_parameter_sets() {
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
    let mut out = BytesMut::new();
    muxer.push(&frame(1, 0, Flags::KEY, KEY_PICTURE), &mut out).unwrap();
    assert_eq!(pids(&out), [PAT_PID, PMT_PID, 0x100]);
    let picture = packets(&out)[2];
    assert!(picture.starts && picture.random_access);
    let stream = [
        &H264_DELIMITER[..],
        &[0, 0, 0, 1, 0x67, 1, 2, 3],
        &[0, 0, 0, 1, 0x68, 4],
        &[0, 0, 0, 1, 0x65, 0x88],
    ];
    assert_eq!(picture.payload.unwrap()[14..], stream.concat());
    assert_eq!(clocks(&out), [u64::try_from(START - CLOCK_DELAY).unwrap()]);

    out.clear();
    muxer.push(&frame(1, 3_000, Flags::NONE, PICTURE), &mut out).unwrap();
    assert_eq!(pids(&out), [0x100]);
    let picture = packets(&out)[0].payload.unwrap();
    assert_eq!(
        picture[14..],
        [&H264_DELIMITER[..], &[0, 0, 0, 1, 0x41, 0x9a, 7]].concat()
    );
    assert!(clocks(&out).is_empty());

    out.clear();
    muxer.push(&frame(1, 6_000, Flags::KEY, KEY_PICTURE), &mut out).unwrap();
    assert_eq!(pids(&out), [PAT_PID, PMT_PID, 0x100], "a keyframe has them always");
}

#[test]
fn tables_and_clock_come_again_ten_times_a_second_whatever_the_tracks_do() {
    // Pictures once a second, sound every 20 ms; then sound alone.
    for tracks in [&[video(), audio()][..], &[audio()]] {
        let mut muxer = Muxer::new(tracks).unwrap();
        let mut out = BytesMut::new();
        let mut lengths = Vec::new();
        for n in 0..500 {
            if n % 50 == 0 {
                muxer
                    .push(&frame(1, n * 1_800, Flags::NONE, PICTURE), &mut out)
                    .unwrap();
            }
            muxer.push(&frame(2, n * 960, Flags::KEY, &[7; 300]), &mut out).unwrap();
            lengths.push(out.len());
        }
        let clocks = clocks(&out);
        assert!(
            clocks.windows(2).all(|pair| (1..=9_000).contains(&(pair[1] - pair[0]))),
            "{clocks:?}"
        );
        assert_eq!(clocks.len(), 100);
        let tables = pids(&out).iter().filter(|pid| **pid == PAT_PID).count();
        assert_eq!(tables, 100);
        let clock_pid = 0x100;
        let counters = packets(&out).into_iter().filter(|packet| packet.pid == clock_pid);
        let mut last = 15;
        for packet in counters {
            let step = u8::from(packet.payload.is_some());
            assert_eq!(packet.counter, (last + step) & 15);
            last = packet.counter;
        }
    }
}

#[test]
fn sound_that_lags_behind_the_pictures_does_not_turn_the_clock_back() {
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
    let mut out = BytesMut::new();
    for n in 0..100 {
        muxer
            .push(&frame(1, n * 3_600, Flags::NONE, PICTURE), &mut out)
            .unwrap();
        muxer
            .push(&frame(2, n * 1_920 - 19_200, Flags::KEY, &[7; 9]), &mut out)
            .unwrap();
    }
    assert!(clocks(&out).is_sorted());
    assert!(pids(&out).iter().filter(|pid| **pid == PAT_PID).count() < 50);
}

#[test]
fn times_count_from_the_beginning_that_was_said_in_every_clock() {
    let mut muxer = Muxer::new(&[video(), audio()]).unwrap();
    muxer.begin(TrackId(1), 1_000_000);
    muxer.begin(TrackId(2), 48_000_000);
    let mut out = BytesMut::new();
    muxer
        .push(&frame(1, 1_000_000, Flags::KEY, KEY_PICTURE), &mut out)
        .unwrap();
    muxer.push(&frame(2, 48_048_000, Flags::KEY, &[7]), &mut out).unwrap();
    let times: Vec<_> = packets(&out)
        .iter()
        .filter(|packet| packet.pid == 0x100 || packet.pid == 0x101)
        .filter_map(|packet| super::super::pes::Header::parse(packet.payload?).ok()?.times)
        .map(|times| times.pts)
        .collect();
    assert_eq!(times, [90_000, 180_000]);
}

#[test]
fn codecs_that_others_could_not_read_and_frames_that_do_not_fit_are_refused() {
    assert_eq!(Muxer::new(&[]).err(), Some(Error::Invalid("number of tracks")));
    let refused = [video(), track(2, Codec::Vp9, 90_000)];
    assert_eq!(Muxer::new(&refused).err(), Some(Error::Unsupported("codec in MPEG-TS")));
    assert!(Muxer::new(&vec![video(); MAX_TRACKS]).is_ok());
    assert!(Muxer::new(&vec![video(); MAX_TRACKS + 1]).is_err());

    let opus = track(3, Codec::Opus { channels: 2 }, 48_000);
    let mut muxer = Muxer::new(&[video(), audio(), opus]).unwrap();
    let mut out = BytesMut::new();
    for bad in [
        frame(1, 0, Flags::KEY, &[0, 0, 0, 9, 1]),
        frame(2, 0, Flags::KEY, &[7; adts::MAX_LENGTH]),
        frame(3, 0, Flags::KEY, &[7; 70_000]),
    ] {
        assert!(muxer.push(&bad, &mut out).is_err());
    }
    muxer.push(&frame(9, 0, Flags::KEY, &[7]), &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn new_parameters_stand_in_front_of_the_next_keyframe() {
    let mut muxer = Muxer::new(&[video()]).unwrap();
    let changed = h264::Parameters {
        sps: vec![0x67, 9].into(),
        pps: vec![0x68, 8].into(),
    };
    muxer.set_tracks(&[track(1, Codec::H264(changed), 90_000), audio()]);
    let mut out = BytesMut::new();
    muxer.push(&frame(1, 0, Flags::KEY, KEY_PICTURE), &mut out).unwrap();
    let picture = packets(&out)[2].payload.unwrap();
    assert_eq!(picture[20..32], [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 8]);
}

#[test]
fn an_opus_header_tells_the_length_in_bytes_of_255() {
    assert_eq!(opus_header(0), [0x7f, 0xe0, 0]);
    assert_eq!(opus_header(254), [0x7f, 0xe0, 254]);
    assert_eq!(opus_header(255), [0x7f, 0xe0, 255, 0]);
    assert_eq!(opus_header(600), [0x7f, 0xe0, 255, 255, 90]);
}
