use super::*;

const HOUR: i64 = 3_600;

/// A clock, what it was given, and what went on behind it.
struct Run {
    clock: Clock,
    /// Samples that go on, in stretches.
    samples: i64,
    silence: usize,
    cut: usize,
    adjusted: i64,
    jumps: usize,
}

impl Run {
    fn new(clock_rate: u32, sample_rate: u32) -> Run {
        Run {
            clock: Clock::new(clock_rate, sample_rate),
            samples: 0,
            silence: 0,
            cut: 0,
            adjusted: 0,
            jumps: 0,
        }
    }

    fn push(&mut self, pts: i64, samples: usize) -> Place {
        let place = self.clock.place(Some(pts), samples);
        assert!(place.cut <= samples);
        self.samples += (place.silence + samples - place.cut) as i64 + i64::from(place.adjust);
        self.silence += place.silence;
        self.cut += place.cut;
        self.adjusted += i64::from(place.adjust).abs();
        self.jumps += usize::from(place.jump);
        place
    }

    /// Nothing but the first piece was moved.
    fn calm(&self) -> bool {
        (self.silence, self.cut, self.adjusted, self.jumps) == (0, 0, 0, 1)
    }
}

/// A number of a sequence that looks like none, in `0..below`.
fn noise(seed: &mut u64, below: i64) -> i64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    ((*seed >> 33) as i64) % below
}

#[test]
fn a_day_of_exact_timestamps_moves_nothing() {
    for (rate, samples) in [(48_000, 960), (44_100, 1_024), (8_000, 160), (16_000, 320)] {
        let mut run = Run::new(rate, rate);
        let mut pts = 1_234_567;
        for _ in 0..24 * HOUR * i64::from(rate) / samples {
            run.push(pts, samples as usize);
            pts += samples;
        }
        assert!(run.calm(), "{rate}");
    }
}

#[test]
fn a_day_of_rounded_milliseconds_moves_nothing_and_loses_nothing() {
    for (rate, samples) in [
        (44_100, 1_024),
        (48_000, 1_024),
        (11_025, 576),
        (8_000, 160),
        (48_000, 120),
    ] {
        let mut run = Run::new(1_000, rate);
        let pieces = 24 * HOUR * i64::from(rate) / samples;
        for piece in 0..pieces {
            run.push(77 + piece * samples * 1_000 / i64::from(rate), samples as usize);
        }
        assert!(run.calm(), "{rate}");
        assert_eq!(run.samples, pieces * samples);
    }
}

#[test]
fn jitter_of_the_timestamps_does_not_add_up_and_leaves_no_holes() {
    let mut seed = 1;
    let mut run = Run::new(90_000, 48_000);
    for piece in 0..HOUR * 50 {
        run.push(piece * 1_800 + noise(&mut seed, 1_200) - 600, 960);
    }
    assert_eq!((run.silence, run.cut, run.jumps), (0, 0, 1));
    assert!((run.samples - HOUR * 48_000).abs() < 480, "{}", run.samples);
}

#[test]
fn jitter_larger_than_a_packet_is_soon_recognised() {
    let mut seed = 3;
    let mut run = Run::new(1_000, 48_000);
    let mut moved_late = 0;
    for piece in 0..HOUR * 50 {
        let place = run.push(piece * 20 + noise(&mut seed, 120), 960);
        if piece > 500 && (place.silence > 0 || place.cut > 0) {
            moved_late += 1;
        }
    }
    assert_eq!(moved_late, 0);
    assert!((run.samples - HOUR * 48_000).abs() < 48_000 / 5, "{}", run.samples);
}

#[test]
fn a_sound_card_that_runs_wrong_is_followed_without_holes() {
    // 200 parts in a million: a real one is a fifth of that.
    for (faster, samples) in [(1.000_2, 1_024), (0.999_8, 1_024), (1.000_2, 960)] {
        let mut run = Run::new(1_000, 48_000);
        let mut pieces = 0;
        let mut furthest = 0f64;
        while pieces * samples < HOUR * 48_000 {
            let milliseconds = (pieces * samples) as f64 / 48.0 * faster;
            furthest = furthest.max((run.samples as f64 / 48.0 - milliseconds).abs());
            run.push(milliseconds as i64, samples as usize);
            pieces += 1;
        }
        assert_eq!((run.silence, run.cut, run.jumps), (0, 0, 1), "{faster}");
        assert!(furthest < 10.0, "{faster}: {furthest} ms");
        assert!(run.adjusted > 30_000 && run.adjusted < 40_000, "{}", run.adjusted);
    }
}

#[test]
fn a_lost_packet_becomes_silence_of_its_length() {
    let mut run = Run::new(48_000, 48_000);
    run.push(0, 960);
    let place = run.push(960 * 3, 960);
    assert_eq!(
        place,
        Place {
            silence: 1_920,
            ..Place::default()
        }
    );
    assert_eq!(run.push(960 * 4, 960), Place::default());
    assert_eq!(run.samples, 960 * 5);
}

#[test]
fn what_overlaps_is_cut_off() {
    let mut run = Run::new(48_000, 48_000);
    run.push(0, 960);
    assert_eq!(run.push(0, 960).cut, 960);
    assert_eq!(run.push(300, 960).cut, 660);
    assert_eq!(run.push(1_260, 960), Place::default());
    assert_eq!(run.samples, 960 + 300 + 960);
}

#[test]
fn a_long_gap_and_a_jump_back_start_anew() {
    let mut run = Run::new(48_000, 48_000);
    run.push(0, 960);
    assert!(run.push(960 + 48_000 * FILL + 1, 960).jump);
    assert!(run.push(-1_000_000, 960).jump);
    assert_eq!(run.push(-999_040, 960), Place::default());
    assert!(run.push(i64::MAX, 960).jump);
    assert!(run.push(i64::MIN, 960).jump);
    assert!(run.clock.place(Some(0), usize::MAX).jump);
}

#[test]
fn sound_without_a_timestamp_follows() {
    let mut run = Run::new(48_000, 48_000);
    run.push(0, 960);
    assert_eq!(run.clock.place(None, 960), Place::default());
    assert_eq!(run.push(1_920, 960), Place::default());
    assert!(Clock::new(1_000, 8_000).place(None, 160).jump);
}

#[test]
fn packets_are_stamped_by_the_samples_before_them_and_priming_is_left_out() {
    let mut aac = Timeline::new(44_100, 1_024, 1_024);
    aac.jump(0, 1_000, 1_000);
    assert_eq!(aac.stamp(), None);
    for packet in 0..3 {
        let stamp = aac.stamp().unwrap();
        assert_eq!((stamp.pts, stamp.discontinuity), (44_100 + packet * 1_024, false));
    }
    let mut opus = Timeline::new(48_000, 960, 312);
    opus.jump(0, 0, 90_000);
    assert_eq!(opus.stamp(), None);
    assert_eq!(opus.stamp().unwrap().pts, 648);
}

#[test]
fn a_jump_shows_in_the_first_packet_behind_it() {
    let mut opus = Timeline::new(48_000, 960, 312);
    opus.jump(0, 0, 48_000);
    opus.jump(960 * 3, 480_000, 48_000);
    assert_eq!(opus.stamp(), None);
    let stamps: Vec<_> = (0..4).filter_map(|_| opus.stamp()).collect();
    let expected = [(648, false), (1_608, false), (2_568, false), (480_648, true)];
    assert_eq!(
        stamps
            .iter()
            .map(|stamp| (stamp.pts, stamp.discontinuity))
            .collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn time_never_goes_back() {
    let mut aac = Timeline::new(48_000, 1_024, 1_024);
    aac.jump(0, 1_000_000, 48_000);
    aac.jump(2_048, 5, 48_000);
    let stamps: Vec<_> = (0..6).filter_map(|_| aac.stamp()).map(|stamp| stamp.pts).collect();
    assert!(
        stamps.is_sorted_by(|before, after| after - before == 1_024),
        "{stamps:?}"
    );
}

#[test]
fn a_timeline_that_was_told_nothing_stamps_nothing() {
    assert_eq!(Timeline::new(48_000, 960, 0).stamp(), None);
}

#[test]
fn rescaling_rounds_to_the_nearest_and_never_overflows() {
    assert_eq!(rescale(1, 3, 2), 1);
    assert_eq!(rescale(-1, 1_000, 44_100), -44);
    assert_eq!(rescale(i64::MAX, 1, i64::MAX), i64::MAX);
    assert_eq!(rescale(i64::MIN, 1, 48_000), i64::MIN);
}
