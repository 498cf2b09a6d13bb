//! What a worker that re-encodes sound says to the server, and what timestamps do to the time of sound.

use bytes::{Buf, Bytes};
use wasmtx_codec::{
    clock::{Clock, FILL, Timeline},
    wire::{Answer, MESSAGE_LEN, PACKETS, Request, read_message},
};

/// What parses is written to what parses to the same; a stream of messages ends, and no message is longer than it may be.
pub(crate) fn wire(data: &[u8]) {
    let mut from = data;
    while let Ok(Some(body)) = read_message(&mut from) {
        assert!(body.len() <= MESSAGE_LEN);
        message(body);
    }
    message(Bytes::copy_from_slice(data));
}

fn message(body: Bytes) {
    if let Ok(answer) = Answer::parse(body.clone()) {
        if let Answer::Converted { packets, .. } | Answer::Flushed { packets, .. } = &answer {
            assert!(packets.len() <= PACKETS);
        }
        let mut wire = Vec::new();
        // Words that were no text are longer when they are.
        if answer.write(&mut wire).is_ok() {
            let body = read_message(&wire[..]).unwrap().unwrap();
            let again = Answer::parse(body).unwrap();
            if !matches!(answer, Answer::Failed { .. }) {
                assert_eq!(again, answer);
            }
        }
    }
    if let Ok(request) = Request::parse(body) {
        let mut wire = Vec::new();
        request.write(&mut wire).unwrap();
        assert_eq!(Request::parse(read_message(&wire[..]).unwrap().unwrap()), Ok(request));
    }
}

/// Whatever timestamps come, no more silence is put in than may be, nothing is cut off that was not there, and what comes out
/// never goes back.
pub(crate) fn clock(mut data: &[u8]) {
    const RATES: [u32; 8] = [1, 1_000, 8_000, 44_100, 48_000, 90_000, 96_000, u32::MAX];
    let mut rate = || match data.try_get_u8() {
        Ok(number) => RATES[usize::from(number) % RATES.len()],
        Err(_) => 48_000,
    };
    let (clock_rate, sample_rate) = (rate(), rate());
    let mut clock = Clock::new(clock_rate, sample_rate);
    let mut timeline = Timeline::new(sample_rate, 1_024, 1_024);
    let (mut pts, mut given, mut last) = (0i64, 0i64, None);
    while let (Ok(samples), Ok(step)) = (data.try_get_u16(), data.try_get_i16()) {
        // Every fourth step is a leap.
        pts = pts.wrapping_add(if step & 3 == 0 {
            i64::from(step) << 40
        } else {
            step.into()
        });
        let place = clock.place((step != 1).then_some(pts), samples.into());
        assert!(place.silence as u64 <= u64::from(sample_rate) * FILL as u64);
        assert!(place.cut <= samples.into());
        assert!(place.adjust.abs() <= 1 && (place.adjust == 0 || samples > 1));
        if place.jump {
            given += (1_024 - given % 1_024) % 1_024;
            timeline.jump(given, pts, clock_rate);
        }
        let before = given;
        given += i64::from(samples) - place.cut as i64;
        for _ in before / 1_024..given / 1_024 {
            if let Some(stamp) = timeline.stamp() {
                assert!(last.is_none_or(|last| stamp.pts > last || last == i64::MAX));
                last = Some(stamp.pts);
            }
        }
    }
}
