//! What the tests of this module share: a start of time and seeded randomness.

use std::time::Instant;

/// Some moment; the tests add to it.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant has no other constructor; tests only add to it"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// What the fixtures of `wasmtx-media` hold, as frames of a track.
pub(crate) mod streams {
    use bytes::{Bytes, BytesMut};
    use wasmtx_media::codec::{aac, av1, h264, h265, jpeg};
    use wasmtx_media::{Codec, Flags, Kind, Track, TrackId, nal};

    /// A track and its frames: payload, whether decoding may start there, presentation time.
    pub(crate) struct Stream {
        pub(crate) track: Track,
        pub(crate) frames: Vec<(Bytes, Flags, i64)>,
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!("../../../media/testdata/", $name))
        };
    }

    pub(crate) fn h264() -> Stream {
        let mut parameters = h264::Parameters::default();
        let units = access_units(fixture!("h264-bframes.h264"), |nal| {
            let kind = h264::NalType::of(nal);
            let kept = parameters.handle(&Bytes::copy_from_slice(nal)).is_none() && kind != h264::NalType::AUD;
            (kept, kind.is_slice(), kind.is_slice() && h264::starts_picture(nal))
        });
        let flags = |payload: &Bytes| {
            let flags = Flags::NONE.set(Flags::KEY, h264::is_key(payload));
            flags.set(Flags::DISPOSABLE, h264::is_disposable(payload))
        };
        let frames = with_times(units, include_str!("../../../media/testdata/h264-bframes.pts"), flags);
        Stream {
            track: track(Codec::H264(parameters), Kind::Video, 12_800),
            frames,
        }
    }

    pub(crate) fn h265() -> Stream {
        let mut parameters = h265::Parameters::default();
        let units = access_units(fixture!("h265-bframes.h265"), |nal| {
            let kind = h265::NalType::of(nal);
            let kept = parameters.handle(&Bytes::copy_from_slice(nal)).is_none() && kind != h265::NalType::AUD;
            (kept, kind.is_slice(), kind.is_slice() && h265::starts_picture(nal))
        });
        let flags = |payload: &Bytes| {
            let mut slices = nal::iter(payload).map(h265::NalType::of).filter(|kind| kind.is_slice());
            let flags = Flags::NONE.set(Flags::KEY, h265::is_key(payload));
            flags.set(Flags::DISPOSABLE, slices.all(|kind| !kind.is_referenced()))
        };
        let frames = with_times(units, include_str!("../../../media/testdata/h265-bframes.pts"), flags);
        Stream {
            track: track(Codec::H265(parameters), Kind::Video, 12_800),
            frames,
        }
    }

    pub(crate) fn av1() -> Stream {
        let mut parameters = av1::Parameters::default();
        let units = ivf(fixture!("av1.ivf")).into_iter().map(|unit| {
            let mut payload = BytesMut::new();
            for obu in av1::iter(unit).filter(|obu| obu.kind != av1::ObuType::TEMPORAL_DELIMITER) {
                parameters.handle(&obu);
                obu.put_sized(&mut payload);
            }
            let payload = payload.freeze();
            let flags = Flags::NONE.set(Flags::KEY, av1::is_key(&payload));
            (payload, flags)
        });
        let frames = even(units.collect(), 3_600);
        Stream {
            track: track(Codec::Av1(parameters), Kind::Video, 90_000),
            frames,
        }
    }

    pub(crate) fn vp8() -> Stream {
        let key = wasmtx_media::codec::vp8::is_key;
        let frames = ivf(fixture!("vp8.ivf"))
            .into_iter()
            .map(|frame| (frame, Flags::NONE.set(Flags::KEY, key(frame))));
        let frames = frames
            .map(|(frame, flags)| (Bytes::copy_from_slice(frame), flags))
            .collect();
        Stream {
            track: track(Codec::Vp8, Kind::Video, 90_000),
            frames: even(frames, 3_600),
        }
    }

    pub(crate) fn vp9() -> Stream {
        let key = wasmtx_media::codec::vp9::is_key;
        let frames = ivf(fixture!("vp9.ivf"))
            .into_iter()
            .map(|frame| (frame, Flags::NONE.set(Flags::KEY, key(frame))));
        let frames = frames
            .map(|(frame, flags)| (Bytes::copy_from_slice(frame), flags))
            .collect();
        Stream {
            track: track(Codec::Vp9, Kind::Video, 90_000),
            frames: even(frames, 3_600),
        }
    }

    /// With restart markers claimed in one of them.
    pub(crate) fn mjpeg() -> Stream {
        let images = [&fixture!("jpeg-420.jpg")[..], &fixture!("jpeg-422.jpg")[..]].map(|file| {
            let image = jpeg::Image::parse(file).unwrap();
            Bytes::from(image.to_jfif())
        });
        let mut restarting = jpeg::Image::parse(&images[0]).unwrap();
        restarting.restart_interval = 11;
        let restarting = Bytes::from(restarting.to_jfif());
        let frames = [&images[0], &images[1], &restarting]
            .map(|image| (image.clone(), Flags::KEY))
            .to_vec();
        Stream {
            track: track(Codec::Mjpeg, Kind::Video, 90_000),
            frames: even(frames, 3_600),
        }
    }

    pub(crate) fn aac() -> Stream {
        let mut rest = &fixture!("aac.adts")[..];
        let mut frames = Vec::new();
        while let [_, _, _, a, b, c, ..] = rest {
            let length = usize::from(a & 3) << 11 | usize::from(*b) << 3 | usize::from(c >> 5);
            frames.push((Bytes::copy_from_slice(&rest[7..length]), Flags::KEY));
            rest = &rest[length..];
        }
        let config = aac::Config::new(aac::LOW_COMPLEXITY, 44_100, 2).unwrap();
        Stream {
            track: track(Codec::Aac(config), Kind::Audio, 44_100),
            frames: even(frames, 1_024),
        }
    }

    pub(crate) fn opus() -> Stream {
        // CELT, 20 ms, one frame per packet.
        let frames = (0..50u8)
            .map(|at| (Bytes::from(vec![0xfc, at, 1, 2, 3]), Flags::KEY))
            .collect();
        Stream {
            track: track(Codec::Opus { channels: 2 }, Kind::Audio, 48_000),
            frames: even(frames, 960),
        }
    }

    /// MPEG-2 layer III at 16 kHz: small frames, and frames that need fragments where packets are small.
    pub(crate) fn mp3() -> Stream {
        let frame = |at: u8| {
            let (head, length) = match at % 2 {
                0 => ([0xff, 0xf3, 0x18, 0xc4], 36),
                _ => ([0xff, 0xf3, 0xe8, 0xc4], 720),
            };
            let mut frame = vec![at; length];
            frame[..4].copy_from_slice(&head);
            (Bytes::from(frame), Flags::KEY)
        };
        let codec = Codec::Mp3 {
            sample_rate: 16_000,
            channels: 1,
        };
        Stream {
            track: track(codec, Kind::Audio, 90_000),
            frames: even((0..50).map(frame).collect(), 3_240),
        }
    }

    pub(crate) fn ac3() -> Stream {
        let frame = |at: u8| {
            let mut frame = vec![at; 768];
            frame[..8].copy_from_slice(&[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1]);
            (Bytes::from(frame), Flags::KEY)
        };
        let codec = Codec::Ac3 {
            sample_rate: 48_000,
            channels: 2,
        };
        Stream {
            track: track(codec, Kind::Audio, 48_000),
            frames: even((0..50).map(frame).collect(), 1_536),
        }
    }

    pub(crate) fn g711() -> Stream {
        let codec = Codec::G711 {
            mu_law: true,
            sample_rate: 8_000,
            channels: 1,
        };
        let frames = (0..50u8).map(|at| (Bytes::from(vec![at; 160]), Flags::KEY)).collect();
        Stream {
            track: track(codec, Kind::Audio, 8_000),
            frames: even(frames, 160),
        }
    }

    pub(crate) fn lpcm() -> Stream {
        let codec = Codec::Lpcm {
            bit_depth: 24,
            sample_rate: 48_000,
            channels: 2,
        };
        let frames = (0..50u8)
            .map(|at| (Bytes::from(vec![at; 6 * 30]), Flags::KEY))
            .collect();
        Stream {
            track: track(codec, Kind::Audio, 48_000),
            frames: even(frames, 30),
        }
    }

    pub(crate) fn generic() -> Stream {
        let codec = Codec::Generic {
            payload_type: 107,
            rtpmap: "vnd.onvif.metadata/90000".into(),
            fmtp: "a=b".into(),
        };
        let frames = (0..20u8).map(|at| (Bytes::from(vec![at; 99]), Flags::NONE.set(Flags::MARKER, at % 3 == 0)));
        Stream {
            track: track(codec, Kind::Data, 90_000),
            frames: even(frames.collect(), 3_600),
        }
    }

    pub(crate) fn all() -> Vec<Stream> {
        vec![
            h264(),
            h265(),
            av1(),
            vp8(),
            vp9(),
            mjpeg(),
            aac(),
            opus(),
            mp3(),
            ac3(),
            g711(),
            lpcm(),
            generic(),
        ]
    }

    fn track(codec: Codec, kind: Kind, clock_rate: u32) -> Track {
        Track {
            id: TrackId(3),
            kind,
            codec,
            clock_rate,
            extra: vec![],
            derived: None,
        }
    }

    fn even(frames: Vec<(Bytes, Flags)>, step: i64) -> Vec<(Bytes, Flags, i64)> {
        frames
            .into_iter()
            .zip(0..)
            .map(|((payload, flags), number)| (payload, flags, number * step))
            .collect()
    }

    fn with_times(units: Vec<Bytes>, times: &str, flags: impl Fn(&Bytes) -> Flags) -> Vec<(Bytes, Flags, i64)> {
        let times: Vec<i64> = times.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(units.len(), times.len());
        units
            .into_iter()
            .zip(times)
            .map(|(unit, time)| (unit.clone(), flags(&unit), time))
            .collect()
    }

    /// `classify` says of a NAL unit whether it is kept, is a slice, and is the first slice of its picture.
    fn access_units(stream: &[u8], mut classify: impl FnMut(&[u8]) -> (bool, bool, bool)) -> Vec<Bytes> {
        let mut units = Vec::new();
        let mut builder = nal::Builder::new();
        let mut has_slice = false;
        for nal in nal::split_annex_b(stream) {
            let (kept, slice, first) = classify(nal);
            if has_slice && (first || !slice) {
                units.push(builder.take());
                has_slice = false;
            }
            has_slice |= slice;
            if kept {
                builder.push(nal).unwrap();
            }
        }
        units.push(builder.take());
        units
    }

    fn ivf(file: &[u8]) -> Vec<&[u8]> {
        let mut rest = &file[32..];
        let mut frames = Vec::new();
        while let [a, b, c, d, ..] = rest {
            let end = 12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            frames.push(&rest[12..end]);
            rest = &rest[end..];
        }
        frames
    }
}
