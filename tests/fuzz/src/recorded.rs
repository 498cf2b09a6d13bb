//! Recordings: what is kept of one that was cut off stays kept, and what is made of its parts holds what they held.

use std::{convert::Infallible, ops::Range};

use bytes::Bytes;
use wasmtx_media::container::mp4::{
    self, Whole,
    recorded::{self, Cutting, Entry, Header, Placed, Presentation, Sample, Table, Tally},
};

pub(crate) fn file(data: &[u8]) {
    let kept = whole(data);
    assert!(kept.len <= data.len() as u64);
    if let Some(part) = data.get(..kept.len as usize)
        && !part.is_empty()
    {
        assert_eq!(whole(part), kept, "what is whole stays");
    }
    let Ok(header) = Header::read(data) else { return };
    assert!((1..=mp4::MAX_TRACKS).contains(&header.tracks.len()) && header.len <= data.len() as u64);
    let Ok(made) = recorded::fragmented(&header.tracks) else {
        return;
    };
    let again = Header::read(&made).unwrap();
    assert_eq!(again.fingerprint(), header.fingerprint());
    let mut all = Vec::new();
    for part in parts(data) {
        let (moof, at) = (&data[part.clone()], part.start as u64);
        let Some(samples) = samples(moof, at, &header) else {
            continue;
        };
        cut(moof, at, &header, &samples);
        shift(moof, at, &header, &samples);
        all.extend(samples);
    }
    plain(&header, &all);
}

fn whole(data: &[u8]) -> Whole {
    let mut left = data.len() / 8 * 2 + 8;
    let read = |at: u64, len: usize| {
        left -= 1;
        let from = data.len().min(at.try_into().unwrap_or(usize::MAX));
        let to = data.len().min(from.saturating_add(len));
        Ok::<_, Infallible>(Bytes::copy_from_slice(&data[from..to]))
    };
    let Ok(whole) = mp4::whole(data.len() as u64, read);
    whole
}

/// Where there is a `moof` among the boxes of a file.
fn parts(data: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(head) = data.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = at.saturating_add(size);
        if size < 8 || end > data.len() {
            break;
        }
        if head.ends_with(b"moof") {
            parts.push(at..end);
        }
        at = end;
    }
    parts
}

fn samples(moof: &[u8], at: u64, header: &Header) -> Option<Vec<Sample>> {
    let mut samples = Vec::new();
    let read = recorded::samples(moof, at, &header.tracks, |sample| samples.push(*sample));
    assert!(samples.len() <= recorded::MAX_SAMPLES as usize);
    assert!(samples.iter().all(|sample| sample.track < header.tracks.len()));
    read.ok().map(|()| samples)
}

/// A part that is cut out of one has the samples that were asked for.
fn cut(moof: &[u8], at: u64, header: &Header, samples: &[Sample]) {
    let wanted = |sample: &Sample| {
        let dts = u64::try_from(sample.dts).ok()?;
        let (duration, later) = (sample.duration, sample.later);
        (sample.size % 7 != 3).then_some(Placed { dts, duration, later })
    };
    let mut cutting = Cutting::default();
    cutting.add(moof, at, &header.tracks, wanted).unwrap();
    let cut = cutting.finish(1);
    let mut kept: Vec<_> = samples.iter().filter(|sample| wanted(sample).is_some()).collect();
    // One run per track.
    kept.sort_by_key(|sample| header.tracks[sample.track].id);
    let bytes: u64 = kept.iter().map(|sample| u64::from(sample.size)).sum();
    assert_eq!(cut.len(), cut.head.len() as u64 + bytes);
    if bytes > u64::from(u32::MAX) / 2 {
        return;
    }
    let Some(again) = self::samples(&cut.head, 0, header) else {
        panic!("{:?}", cut.head)
    };
    let essence = |sample: &Sample| (sample.track, sample.duration, sample.size, sample.later);
    assert_eq!(
        again.iter().map(essence).collect::<Vec<_>>(),
        kept.into_iter().map(essence).collect::<Vec<_>>()
    );
}

/// A part that is shifted differs in its times only.
fn shift(moof: &[u8], at: u64, header: &Header, samples: &[Sample]) {
    let mut shifted = moof.to_vec();
    if recorded::shift(&mut shifted, 1, |_| Some(1_000)).is_err() {
        return;
    }
    // A time may be too large then.
    let Some(again) = self::samples(&shifted, at, header) else {
        return;
    };
    assert_eq!(again.len(), samples.len());
    for (old, new) in samples.iter().zip(again) {
        let dts = new.dts;
        assert_eq!(Sample { dts, ..*old }, new);
    }
}

/// The tables of a plain file are as large as was said before they were made.
fn plain(header: &Header, samples: &[Sample]) {
    let entry = |sample: &Sample| Entry {
        dts: sample.dts,
        later: sample.later,
        duration: sample.duration,
        size: sample.size,
        sync: sample.is_sync(),
        offset: sample.offset,
    };
    let mut tallies = vec![Tally::default(); header.tracks.len()];
    for sample in samples {
        tallies[sample.track].push(&entry(sample));
    }
    tallies.iter_mut().for_each(Tally::finish);
    let Ok((pieces, begins)) = recorded::progressive(&header.tracks, &tallies, 0) else {
        return;
    };
    let mut made = Vec::new();
    for piece in pieces {
        match piece {
            Presentation::Bytes(bytes) => made.extend_from_slice(&bytes),
            Presentation::Table(place, kind) => {
                let mut table = Table::new(kind);
                let of_track = samples.iter().filter(|sample| sample.track == place);
                of_track.for_each(|sample| table.push(&entry(sample), &mut made));
                table.finish(&mut made);
            }
            Presentation::Data => assert_eq!(made.len() as u64, begins),
        }
    }
}
