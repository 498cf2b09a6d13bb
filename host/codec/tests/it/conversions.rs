//! What goes in comes out: the same sound, as long, at the same time.

use bytes::Bytes;
use wasmtx_codec::wire::{Decode, Encode, Source, Target};

use crate::{
    sound::{big_endian, loudness, peak, tone},
    tool::{ffmpeg, hear_aac, hear_opus, packets_of_adts, packets_of_ogg},
    worker::{Converted, convert, source, target},
};

const SECONDS: usize = 3;

/// What is heard, and the tick of its first sample.
fn hear(converted: &Converted, target: Target) -> (Vec<Vec<f32>>, i64) {
    let packets: Vec<_> = converted.packets.iter().map(|packet| packet.payload.clone()).collect();
    let channels = target.channels.into();
    let heard = match target.codec {
        Encode::Aac => hear_aac(&converted.parameters, &packets, channels),
        Encode::Opus => hear_opus(&packets, channels),
    };
    (heard, converted.packets[0].pts)
}

/// Packets follow each other without a hole, and cover what came in to a frame.
fn check_times(converted: &Converted, target: Target, first: i64, samples: i64) {
    assert!(converted.problems.is_empty(), "{:?}", converted.problems);
    let frame = match target.codec {
        Encode::Aac => 1_024,
        Encode::Opus => 960,
    };
    for pair in converted.packets.windows(2) {
        assert_eq!(pair[1].pts - pair[0].pts, frame);
        assert_eq!(i64::from(pair[0].duration), frame);
        assert!(!pair[1].discontinuity);
    }
    let (begins, ends) = (converted.packets[0].pts, converted.packets.last().unwrap().pts + frame);
    assert!((first..first + frame).contains(&begins), "{begins} {first}");
    assert!((ends - first - samples).abs() <= 2 * frame, "{ends} {first} {samples}");
}

/// A tone of 1 kHz, 0.25 loud, went in: it is heard in every channel, as loud, and nothing else is.
fn check_tone(converted: &Converted, target: Target) {
    let (heard, _) = hear(converted, target);
    for row in &heard {
        let second = &row[target.sample_rate as usize..2 * target.sample_rate as usize];
        let loud = loudness(second, 1_000.0, target.sample_rate);
        assert!((0.2..0.3).contains(&loud), "{loud}");
        for other in [500.0, 1_100.0, 2_000.0, 3_000.0] {
            let loud = loudness(second, other, target.sample_rate);
            assert!(loud < 0.01, "{other} Hz: {loud}");
        }
    }
}

/// A tone as FFmpeg encodes it.
fn encoded(rate: u32, channels: u8, how: &str) -> Vec<u8> {
    // FFmpeg itself makes one channel quieter when it becomes two.
    let both = if channels == 2 { ",pan=stereo|c0=c0|c1=c0" } else { "" };
    let line = format!(
        "-f lavfi -i sine=frequency=1000:sample_rate={rate}:duration={SECONDS} -af volume=2{both} -ac {channels} {how} -"
    );
    ffmpeg(&line, &[])
}

/// Packets of the same number of samples.
fn timed(packets: impl IntoIterator<Item = Bytes>, first: i64, samples: i64) -> Vec<(i64, Bytes)> {
    let times = (0..).map(|number| first + number * samples);
    times.zip(packets).collect()
}

fn cut(bytes: Vec<u8>, len: usize) -> Vec<Bytes> {
    bytes.chunks_exact(len).map(Bytes::copy_from_slice).collect()
}

/// A tone as frames of MP3. Without the reservoir and the header frame every frame stands alone.
fn mp3(rate: u32, channels: u8) -> Vec<Bytes> {
    let how = "-c:a libmp3lame -b:a 128k -reservoir 0 -write_xing 0 -id3v2_version 0 -f mp3";
    let mp3 = encoded(rate, channels, how);
    let mut frames = Vec::new();
    let mut rest = &mp3[..];
    while rest.len() > 4 {
        let len = 144 * 128_000 / rate as usize + usize::from(rest[2] >> 1 & 1);
        if len > rest.len() {
            break;
        }
        frames.push(Bytes::copy_from_slice(&rest[..len]));
        rest = &rest[len..];
    }
    frames
}

/// Sends a tone through and listens to it.
fn check(source: &Source, target: Target, packets: Vec<(i64, Bytes)>, samples: u32) {
    let first = packets[0].0 * i64::from(target.sample_rate) / i64::from(source.clock_rate);
    let count = packets.len() as i64 * i64::from(samples) * i64::from(target.sample_rate);
    let converted = convert(source, target, packets);
    check_times(&converted, target, first, count / i64::from(source.sample_rate));
    check_tone(&converted, target);
}

#[test]
fn opus_becomes_aac() {
    let packets = packets_of_ogg(&encoded(48_000, 2, "-c:a libopus -f ogg")).split_off(2);
    let (source, target) = (source(Decode::Opus, 48_000, 2), target(Encode::Aac, 48_000, 2));
    check(&source, target, timed(packets, 12_345, 960), 960);
}

#[test]
fn opus_of_six_channels_becomes_stereo() {
    let head = &packets_of_ogg(&encoded(48_000, 6, "-c:a libopus -f ogg"));
    let source = Source {
        parameters: head[0].clone(),
        ..source(Decode::Opus, 48_000, 6)
    };
    let packets = timed(head[2..].to_vec(), 0, 960);
    let target = target(Encode::Aac, 48_000, 2);
    let converted = convert(&source, target, packets);
    // What FFmpeg makes of one channel it puts into the middle one.
    let (heard, _) = hear(&converted, target);
    assert!(loudness(&heard[0][48_000..96_000], 1_000.0, 48_000) > 0.03);
}

#[test]
fn g711_of_either_law_rate_and_any_channels_becomes_aac() {
    for (codec, name, rate, channels) in [
        (Decode::MuLaw, "mulaw", 8_000, 1),
        (Decode::ALaw, "alaw", 8_000, 1),
        (Decode::ALaw, "alaw", 16_000, 2),
    ] {
        let samples = rate as usize / 50;
        let bytes = encoded(rate, channels, &format!("-f {name}"));
        let packets = timed(cut(bytes, samples * usize::from(channels)), 80_000, samples as i64);
        let target = target(Encode::Aac, rate, channels);
        check(&source(codec, rate, channels), target, packets, rate / 50);
    }
}

#[test]
fn g711_becomes_opus_at_six_times_the_rate_and_no_sample_is_lost() {
    let packets = timed(cut(encoded(8_000, 1, "-f mulaw"), 160), 0, 160);
    check(
        &source(Decode::MuLaw, 8_000, 1),
        target(Encode::Opus, 48_000, 1),
        packets,
        160,
    );
}

#[test]
fn one_channel_is_heard_on_both_sides() {
    let packets = timed(cut(encoded(8_000, 1, "-f mulaw"), 160), 0, 160);
    check(
        &source(Decode::MuLaw, 8_000, 1),
        target(Encode::Aac, 48_000, 2),
        packets,
        160,
    );
}

#[test]
fn linear_samples_of_every_depth_become_aac() {
    for (codec, name, bytes) in [
        (Decode::Pcm8, "u8", 1),
        (Decode::Pcm16, "s16be", 2),
        (Decode::Pcm24, "s24be", 3),
    ] {
        let packets = timed(
            cut(encoded(44_100, 2, &format!("-f {name}")), 441 * 2 * bytes),
            -5_000,
            441,
        );
        check(&source(codec, 44_100, 2), target(Encode::Aac, 44_100, 2), packets, 441);
    }
}

#[test]
fn frames_of_mp3_ac3_and_flac_become_aac() {
    check(
        &source(Decode::Mp3, 44_100, 2),
        target(Encode::Aac, 44_100, 2),
        timed(mp3(44_100, 2), 0, 1_152),
        1_152,
    );

    let ac3 = cut(encoded(48_000, 2, "-c:a ac3 -b:a 192k -f ac3"), 768);
    check(
        &source(Decode::Ac3, 48_000, 2),
        target(Encode::Opus, 48_000, 2),
        timed(ac3, 0, 1_536),
        1_536,
    );

    // The first packet of FLAC in Ogg is a header of 9 bytes, the signature, a block header and STREAMINFO.
    let flac = packets_of_ogg(&encoded(48_000, 2, "-c:a flac -frame_size 1024 -f ogg"));
    let source = Source {
        parameters: flac[0].slice(17..),
        ..source(Decode::Flac, 48_000, 2)
    };
    check(
        &source,
        target(Encode::Aac, 48_000, 2),
        timed(flac[2..].to_vec(), 0, 1_024),
        1_024,
    );
}

#[test]
fn aac_becomes_opus_and_changes_its_rate_without_drift() {
    for rate in [48_000, 44_100, 32_000] {
        let (parameters, packets) = packets_of_adts(&encoded(rate, 2, "-c:a aac -f adts"));
        let source = Source {
            parameters,
            ..source(Decode::Aac, rate, 2)
        };
        check(
            &source,
            target(Encode::Opus, 48_000, 2),
            timed(packets, 0, 1_024),
            1_024,
        );
    }
}

#[test]
fn the_parameters_are_those_that_every_player_takes() {
    let aac = convert(&source(Decode::Opus, 48_000, 2), target(Encode::Aac, 48_000, 2), []);
    assert_eq!(aac.parameters, &[0x11, 0x90][..]);
    let aac = convert(&source(Decode::ALaw, 8_000, 1), target(Encode::Aac, 8_000, 1), []);
    assert_eq!(aac.parameters, &[0x15, 0x88][..]);
    let opus = convert(&source(Decode::ALaw, 8_000, 1), target(Encode::Opus, 48_000, 1), []);
    assert_eq!(opus.parameters[..10], *b"OpusHead\x01\x01");
}

#[test]
fn six_channels_stay_where_they_are_when_they_are_asked_for() {
    // The second of six is the right one, in the order of both.
    let silent = std::iter::repeat_n(0, 5);
    let samples = tone(1_000.0, 48_000, 0.25, 48_000 * SECONDS)
        .flat_map(|sample| silent.clone().take(1).chain([sample]).chain(silent.clone().take(4)));
    let packets = timed(cut(big_endian(samples), 480 * 12), 0, 480);
    let target = target(Encode::Aac, 48_000, 6);
    let converted = convert(&source(Decode::Pcm16, 48_000, 6), target, packets);
    let (heard, _) = hear(&converted, target);
    for (channel, row) in heard.iter().enumerate() {
        let loud = loudness(&row[48_000..96_000], 1_000.0, 48_000);
        assert_eq!(loud > 0.2, channel == 1, "{channel}: {loud}");
        assert!(channel == 1 || loud < 0.01, "{channel}: {loud}");
    }
}

#[test]
fn a_stream_that_changes_its_rate_and_channels_goes_on_in_time() {
    let ticks = |rate: i64| 1_152 * 90_000 / rate;
    let before = timed(mp3(44_100, 2), 0, ticks(44_100));
    let from = before.last().unwrap().0 + ticks(44_100);
    let after = timed(mp3(48_000, 1), from, ticks(48_000));
    let ends = after.last().unwrap().0 + ticks(48_000);
    let mut source = source(Decode::Mp3, 44_100, 2);
    source.clock_rate = 90_000;
    let target = target(Encode::Aac, 44_100, 2);
    let converted = convert(&source, target, before.into_iter().chain(after));
    assert!(converted.problems.is_empty());
    for pair in converted.packets.windows(2) {
        // What the encoder's frame was filled up with is all that may be between the two.
        assert!((1_024..=2_048).contains(&(pair[1].pts - pair[0].pts)));
    }
    let last = converted.packets.last().unwrap().pts + 1_024;
    assert!((last - ends * 44_100 / 90_000).abs() <= 2 * 1_024, "{last} {ends}");
    let (heard, _) = hear(&converted, target);
    for second in [1, 4] {
        let part = &heard[1][second * 44_100..(second + 1) * 44_100];
        let loud = loudness(part, 1_000.0, 44_100);
        assert!((0.2..0.3).contains(&loud), "{second}: {loud}");
    }
}

/// Silence with a click in it.
fn click(rate: u32, at: usize) -> Vec<(i64, Bytes)> {
    let samples = (0..rate as usize * SECONDS).map(|sample| if sample == at { 30_000 } else { 0 });
    timed(
        cut(big_endian(samples), rate as usize / 50 * 2),
        0,
        i64::from(rate / 50),
    )
}

#[test]
fn a_click_is_heard_when_it_was_made() {
    for (from, codec, to) in [
        (48_000, Encode::Aac, 48_000),
        (44_100, Encode::Aac, 44_100),
        (8_000, Encode::Aac, 48_000),
        (48_000, Encode::Opus, 48_000),
        (44_100, Encode::Opus, 48_000),
    ] {
        let (at, target) = (from as usize * 3 / 2, target(codec, to, 1));
        let converted = convert(&source(Decode::Pcm16, from, 1), target, click(from, at));
        let (heard, begins) = hear(&converted, target);
        let late = begins + peak(&heard[0]) as i64 - i64::from(to) * 3 / 2;
        // Sharper than lips and sound need it by far: a millisecond.
        assert!(late.abs() <= i64::from(to) / 1_000, "{from} {to} {codec:?}: {late}");
    }
}

#[test]
fn missing_packets_become_silence_and_nothing_moves() {
    let at = 48_000 * 2;
    let mut packets = click(48_000, at);
    packets.drain(20..40);
    packets.remove(60);
    let target = target(Encode::Aac, 48_000, 1);
    let converted = convert(&source(Decode::Pcm16, 48_000, 1), target, packets);
    check_times(&converted, target, 0, 48_000 * SECONDS as i64);
    let (heard, begins) = hear(&converted, target);
    assert!((begins + peak(&heard[0]) as i64 - at as i64).abs() <= 48);
}

#[test]
fn a_long_gap_is_a_jump_that_is_marked() {
    let mut packets = click(48_000, 48_000);
    for (pts, _) in &mut packets[75..] {
        *pts += 480_000;
    }
    for codec in [Encode::Aac, Encode::Opus] {
        let target = target(codec, 48_000, 1);
        let converted = convert(&source(Decode::Pcm16, 48_000, 1), target, packets.clone());
        let jumps: Vec<_> = converted.packets.iter().filter(|packet| packet.discontinuity).collect();
        assert_eq!(jumps.len(), 1);
        let due = 75 * 960 + 480_000;
        assert!((due..due + 1_024).contains(&jumps[0].pts), "{}", jumps[0].pts);
        assert!(converted.packets.is_sorted_by_key(|packet| packet.pts));
    }
}

#[test]
fn milliseconds_of_a_clock_leave_no_holes() {
    let (mut source, target) = (source(Decode::Pcm16, 44_100, 1), target(Encode::Aac, 44_100, 1));
    source.clock_rate = 1_000;
    let samples = tone(1_000.0, 44_100, 0.25, 44_100 * SECONDS);
    let packets = timed(cut(big_endian(samples), 2_048), 0, 1_024);
    let packets = packets
        .into_iter()
        .map(|(samples, packet)| (samples * 1_000 / 44_100, packet));
    let converted = convert(&source, target, packets);
    check_times(&converted, target, 0, 44_100 * SECONDS as i64);
    check_tone(&converted, target);
}
