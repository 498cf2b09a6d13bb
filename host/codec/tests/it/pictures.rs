//! Keyframes become pictures, whatever they are.

use bytes::Bytes;
use wasmtx_codec::wire::{Answer, PICTURE_LEN, Problem, Request, Video};

use crate::{tool::ffmpeg, worker::Worker};

/// A frame of one colour, as the tool writes it.
fn red(coder: &str, container: &str, size: &str, more: &str) -> Vec<u8> {
    let line = format!(
        "-f lavfi -i color=c=red:size={size}:rate=25 {more} -frames:v 1 -pix_fmt yuv420p {coder} -f {container} -"
    );
    ffmpeg(&line, &[])
}

/// The first frame of an IVF file: a header of 32 bytes, then 12 bytes in front of each frame, its length first.
fn first_of_ivf(file: &[u8]) -> Bytes {
    let len = u32::from_le_bytes(file[32..36].try_into().unwrap()) as usize;
    Bytes::copy_from_slice(&file[44..44 + len])
}

fn ask(worker: &mut Worker, id: u32, codec: Video, width: u16, payload: Bytes) -> Result<Bytes, Problem> {
    worker.say(&Request::Picture {
        id,
        codec,
        width,
        parameters: Bytes::new(),
        payload,
    });
    match worker.hear() {
        Answer::Picture { id: made, jpeg } if made == id => Ok(jpeg),
        Answer::Failed { id: made, problem, .. } if made == id => Err(problem),
        other => panic!("{other:?}"),
    }
}

/// Width, height and the mean red, green and blue, as another decoder sees them.
fn look(jpeg: &[u8]) -> (usize, usize, [f64; 3]) {
    let ppm = ffmpeg("-f mjpeg -i - -f image2 -c:v ppm -", jpeg);
    let words: Vec<usize> = ppm
        .split(|byte| byte.is_ascii_whitespace())
        .skip(1)
        .take(2)
        .map(|word| std::str::from_utf8(word).unwrap().parse().unwrap())
        .collect();
    let pixels = &ppm[ppm.len() - words[0] * words[1] * 3..];
    let mean = |place: usize| {
        let sum: f64 = pixels.iter().skip(place).step_by(3).copied().map(f64::from).sum();
        sum / (words[0] * words[1]) as f64
    };
    (words[0], words[1], [mean(0), mean(1), mean(2)])
}

fn check(jpeg: &[u8], size: (usize, usize)) {
    let (width, height, [red, green, blue]) = look(jpeg);
    assert_eq!((width, height), size);
    assert!(red > 245.0 && green < 10.0 && blue < 10.0, "{red} {green} {blue}");
}

#[test]
fn a_keyframe_of_every_codec_becomes_a_picture_of_the_same_colours() {
    let mut worker = Worker::start();
    let frames = [
        (Video::H264, red("-c:v libx264", "h264", "320x180", "").into()),
        (
            Video::H265,
            red("-c:v libx265 -x265-params log-level=error", "hevc", "320x180", "").into(),
        ),
        (
            Video::Av1,
            first_of_ivf(&red("-c:v libaom-av1 -cpu-used 8", "ivf", "320x180", "")),
        ),
        (Video::Vp8, first_of_ivf(&red("-c:v libvpx", "ivf", "320x180", ""))),
        (Video::Vp9, first_of_ivf(&red("-c:v libvpx-vp9", "ivf", "320x180", ""))),
        (Video::Jpeg, red("-c:v mjpeg", "mjpeg", "320x180", "").into()),
    ];
    for (id, (codec, frame)) in (1..).zip(frames) {
        let jpeg = ask(&mut worker, id, codec, 0, frame).unwrap_or_else(|problem| panic!("{codec:?}: {problem}"));
        check(&jpeg, (320, 180));
    }
    worker.end();
}

#[test]
fn a_picture_is_made_smaller_but_never_larger() {
    let mut worker = Worker::start();
    let frame = Bytes::from(red("-c:v libx264", "h264", "640x360", ""));
    for (id, (width, size)) in (1..).zip([
        (320, (320, 180)),
        (33, (33, 19)),
        (640, (640, 360)),
        (4_000, (640, 360)),
    ]) {
        check(&ask(&mut worker, id, Video::H264, width, frame.clone()).unwrap(), size);
    }
    // Less than the scaler takes.
    assert_eq!(ask(&mut worker, 9, Video::H264, 8, frame), Err(Problem::Picture));
    worker.end();
}

#[test]
fn colours_of_high_definition_are_those_of_high_definition() {
    let mut worker = Worker::start();
    let mixed = "-vf scale=out_color_matrix=bt709";
    for (id, named) in (1..).zip(["-colorspace bt709", ""]) {
        let coder = format!("-c:v libx264 {named}");
        let frame = red(&coder, "h264", "1280x720", mixed);
        check(
            &ask(&mut worker, id, Video::H264, 0, frame.into()).unwrap(),
            (1280, 720),
        );
    }
    worker.end();
}

#[test]
fn pixels_that_are_not_square_become_square() {
    let mut worker = Worker::start();
    let frame = red("-c:v libx264", "h264", "720x576", "-vf setsar=64/45");
    check(&ask(&mut worker, 1, Video::H264, 0, frame.into()).unwrap(), (1024, 576));
    worker.end();
}

#[test]
fn a_picture_cut_anywhere_is_a_picture_or_an_error_and_the_worker_goes_on() {
    let mut worker = Worker::start();
    let whole = Bytes::from(red("-c:v libx264", "h264", "176x144", "-vf noise=alls=20"));
    let mut failed = 0;
    let step = whole.len().div_ceil(200);
    for (id, len) in (1..).zip((0..whole.len()).step_by(step)) {
        match ask(&mut worker, id, Video::H264, 0, whole.slice(..len)) {
            Ok(jpeg) => assert!(jpeg.starts_with(&[0xff, 0xd8])),
            Err(problem) => {
                assert_eq!(problem, Problem::Picture);
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
    assert!(ask(&mut worker, 1_000, Video::H264, 0, whole).is_ok());
    worker.end();
}

#[test]
fn junk_is_an_error_for_every_codec() {
    let mut worker = Worker::start();
    let mut id = 0;
    for codec in [
        Video::H264,
        Video::H265,
        Video::Av1,
        Video::Vp8,
        Video::Vp9,
        Video::Jpeg,
    ] {
        for seed in 0..50u64 {
            id += 1;
            let junk = (0..seed * 7).map(|place| (place.wrapping_mul(seed + 0x9e37_79b9) >> 3) as u8);
            // What a decoder makes of junk is its own affair, if it is bounded.
            let _ = ask(&mut worker, id, codec, 0, junk.collect());
        }
        assert_eq!(ask(&mut worker, id + 1, codec, 0, Bytes::new()), Err(Problem::Picture));
        id += 1;
    }
    worker.end();
}

#[test]
fn a_picture_of_more_pixels_than_anybody_has_is_refused_before_memory_is_taken() {
    let mut worker = Worker::start_with(256 << 20);
    // VP8 (RFC 6386 section 9.1): a keyframe's start code, then 14 bits of width and height.
    let mut vp8 = first_of_ivf(&red("-c:v libvpx", "ivf", "320x180", "")).to_vec();
    vp8[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    assert_eq!(ask(&mut worker, 1, Video::Vp8, 0, vp8.into()), Err(Problem::Picture));
    // JPEG: the frame header's two numbers of 16 bits.
    let mut jpeg = red("-c:v mjpeg", "mjpeg", "320x180", "");
    let header = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[header + 5..header + 9].fill(0xff);
    assert_eq!(ask(&mut worker, 2, Video::Jpeg, 0, jpeg.into()), Err(Problem::Picture));
    let memory = std::fs::read_to_string(format!("/proc/{}/status", worker.process.id())).unwrap();
    let line = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 200 << 10, "{line}");
    worker.end();
}

#[test]
fn the_largest_picture_fits_into_a_message() {
    let mut worker = Worker::start();
    let junk = vec![0x55; PICTURE_LEN];
    assert_eq!(ask(&mut worker, 1, Video::H264, 0, junk.into()), Err(Problem::Picture));
    worker.end();
}
