//! An hour of sound, in virtual time.

use bytes::Bytes;
use wasmtx_codec::wire::{Decode, Encode};

use crate::worker::{Converted, Worker, source, target};

#[test]
fn an_hour_of_sound_stays_within_a_frame_of_exact() {
    const PACKETS: i64 = 3_600 * 8_000 / 1_000;
    let mut source = source(Decode::ALaw, 8_000, 1);
    source.clock_rate = 1_000;
    let target = target(Encode::Aac, 11_025, 1);
    let mut worker = Worker::start();
    worker.open(1, &source, target);
    let silence = Bytes::from_static(&[0xd5; 1_000]);
    let click = Bytes::from([&[0x2a; 8][..], &[0xd5; 992]].concat());
    let mut all = Converted::default();
    let (mut last, mut count) = (None, 0);
    for packet in 0..PACKETS {
        let payload = if packet % 160 == 0 { &click } else { &silence };
        worker.push(1, packet * 125, payload.clone(), &mut all);
        for packet in all.packets.drain(..) {
            assert!(last.is_none_or(|last| packet.pts - last == 1_024) && !packet.discontinuity);
            last = Some(packet.pts);
            count += 1;
        }
    }
    worker.flush(1, &mut all);
    count += all.packets.len() as i64;
    let ends = all.packets.last().map(|packet| packet.pts).or(last).unwrap() + 1_024;
    assert!(all.problems.is_empty());
    assert!((ends - 3_600 * 11_025).abs() <= 1_024, "{ends}");
    assert!((count * 1_024 - 3_600 * 11_025).abs() <= 1_024, "{count}");
    worker.end();
}
