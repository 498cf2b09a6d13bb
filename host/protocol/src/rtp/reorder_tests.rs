use bytes::Bytes;

use super::*;
use crate::rtp::packet::Header;
use crate::rtp::testing::{self, Random};

fn packet(sequence: u16) -> Packet {
    from(sequence, 1)
}

fn from(sequence: u16, ssrc: u32) -> Packet {
    let header = Header {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: 0,
        ssrc,
    };
    Packet {
        header,
        payload: Bytes::new(),
    }
}

/// Sequence numbers as they come out, with the packets lost before each.
fn drain(reorder: &mut Reorder) -> Vec<(u16, u16)> {
    std::iter::from_fn(|| reorder.poll())
        .map(|delivered| (delivered.packet.header.sequence, delivered.lost))
        .collect()
}

fn feed(reorder: &mut Reorder, now: Instant, sequences: &[u16]) -> Vec<(u16, u16)> {
    for sequence in sequences {
        reorder.handle(now, packet(*sequence));
    }
    drain(reorder)
}

#[test]
fn packets_in_order_leave_at_once() {
    let mut reorder = Reorder::new(Delivery::Datagrams);
    let now = testing::start();
    for sequence in [65_534u16, 65_535, 0, 1] {
        assert_eq!(feed(&mut reorder, now, &[sequence]), [(sequence, 0)]);
    }
    assert_eq!(reorder.poll_timeout(), None);
    assert_eq!(reorder.counts(), Counts::default());
}

#[test]
fn a_swapped_packet_is_waited_for_and_duplicates_are_dropped() {
    let mut reorder = Reorder::new(Delivery::Datagrams);
    let now = testing::start();
    assert_eq!(feed(&mut reorder, now, &[10, 12, 13, 12]), [(10, 0)]);
    assert_eq!(feed(&mut reorder, now, &[11]), [(11, 0), (12, 0), (13, 0)]);
    assert_eq!(feed(&mut reorder, now, &[11, 13]), []);
    assert_eq!(
        reorder.counts(),
        Counts {
            late: 3,
            ..Counts::default()
        }
    );
}

#[test]
fn the_wait_ends_after_its_time() {
    let mut reorder = Reorder::new(Delivery::Datagrams);
    let now = testing::start();
    assert_eq!(feed(&mut reorder, now, &[10, 13, 14, 16]), [(10, 0)]);
    assert_eq!(reorder.poll_timeout(), Some(now + MAX_WAIT));
    reorder.handle_timeout(now + MAX_WAIT - Duration::from_millis(1));
    assert_eq!(drain(&mut reorder), []);
    reorder.handle_timeout(now + MAX_WAIT);
    assert_eq!(drain(&mut reorder), [(13, 2), (14, 0), (16, 1)]);
    assert_eq!(reorder.counts().lost, 3);
}

#[test]
fn the_wait_ends_when_the_window_is_full() {
    let mut reorder = Reorder::new(Delivery::Datagrams);
    let now = testing::start();
    let sequences: Vec<u16> = std::iter::once(10).chain(12..12 + WINDOW - 1).collect();
    assert_eq!(feed(&mut reorder, now, &sequences), [(10, 0)]);
    let rest = feed(&mut reorder, now, &[12 + WINDOW - 1]);
    assert_eq!((rest[0], rest.len()), ((12, 1), usize::from(WINDOW)));
}

#[test]
fn an_ordered_transport_waits_for_nothing() {
    let mut reorder = Reorder::new(Delivery::Ordered);
    let now = testing::start();
    assert_eq!(
        feed(&mut reorder, now, &[10, 12, 13, 2_000]),
        [(10, 0), (12, 1), (13, 0), (2_000, 1_986)]
    );
    assert_eq!(reorder.poll_timeout(), None);
}

#[test]
fn a_jump_counts_once_a_second_packet_confirms_it() {
    for delivery in [Delivery::Ordered, Delivery::Datagrams] {
        let mut reorder = Reorder::new(delivery);
        let now = testing::start();
        assert_eq!(feed(&mut reorder, now, &[10, 30_000]), [(10, 0)]);
        assert_eq!(feed(&mut reorder, now, &[11]), [(11, 0)], "the stray one is forgotten");
        assert_eq!(feed(&mut reorder, now, &[30_001, 500 + 40_000]), []);
        reorder.handle(now, packet(40_501));
        let delivered = reorder.poll().unwrap();
        assert_eq!(
            (delivered.packet.header.sequence, delivered.lost, delivered.restarted),
            (40_501, 1, true)
        );
        assert_eq!(reorder.counts().unconfirmed, 3);
    }
}

#[test]
fn another_source_takes_over_after_silence_only() {
    let mut reorder = Reorder::new(Delivery::Datagrams);
    let now = testing::start();
    assert!(reorder.handle(now, from(10, 1)));
    assert!(!reorder.handle(now + Duration::from_secs(1), from(11, 2)));
    assert_eq!((reorder.counts().foreign, reorder.ssrc()), (1, Some(1)));
    assert!(reorder.handle(now + Duration::from_secs(2), from(500, 2)));
    assert_eq!(drain(&mut reorder), [(10, 0), (500, 1)]);
    assert_eq!(reorder.ssrc(), Some(2));
    let mut reorder = Reorder::new(Delivery::Ordered);
    assert!(
        reorder.handle(now, from(10, 1)) && reorder.handle(now, from(7, 2)),
        "a connection has one peer"
    );
}

#[test]
fn any_arrival_comes_out_in_order_and_every_gap_is_told() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut reorder = Reorder::new(Delivery::Datagrams);
        let start = testing::start();
        let first = random.next() as u16;
        // A thousand packets, some lost, some twice, each up to 20 places late.
        let mut arrivals: Vec<(usize, u16)> = Vec::new();
        for number in 0..1_000usize {
            let copies = [0, 1, 1, 1, 1, 1, 1, 2][random.below(8)];
            for _ in 0..if number == 0 { 1 } else { copies } {
                let late = if number == 0 { 0 } else { 1 + random.below(20) };
                arrivals.push((number + late, first.wrapping_add(number as u16)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let mut expected = first;
        let mut told = 0u64;
        let mut check = |reorder: &mut Reorder| {
            for (sequence, lost) in drain(reorder) {
                assert_eq!(sequence, expected.wrapping_add(lost), "seed {seed}");
                expected = sequence.wrapping_add(1);
                told += u64::from(lost);
            }
        };
        for (at, sequence) in arrivals {
            let now = start + Duration::from_millis(at as u64);
            reorder.handle_timeout(now);
            reorder.handle(now, packet(sequence));
            assert!(reorder.waiting.len() <= usize::from(WINDOW));
            check(&mut reorder);
        }
        reorder.handle_timeout(start + Duration::from_secs(10));
        check(&mut reorder);
        assert!(reorder.waiting.is_empty());
        assert_eq!(told, reorder.counts().lost, "seed {seed}");
    }
}

#[test]
fn nonsense_is_bounded() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut reorder = Reorder::new(if seed % 2 == 0 {
            Delivery::Datagrams
        } else {
            Delivery::Ordered
        });
        let mut now = testing::start();
        for _ in 0..500 {
            now += Duration::from_millis(random.below(50) as u64);
            let sequence = if random.below(4) == 0 {
                random.next() as u16
            } else {
                random.below(200) as u16
            };
            reorder.handle(now, from(sequence, random.below(2) as u32));
            reorder.handle_timeout(now);
            assert!(reorder.waiting.len() <= usize::from(WINDOW));
            assert!(reorder.ready.len() <= usize::from(WINDOW) + 1);
            drain(&mut reorder);
        }
    }
}
