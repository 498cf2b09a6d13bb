//! FFmpeg's own tool, and the containers through which its packets come and go.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use bytes::Bytes;

/// Runs `ffmpeg` with the words of `line`, feeds it, and answers what it writes.
pub(crate) fn ffmpeg(line: &str, input: &[u8]) -> Vec<u8> {
    let mut tool = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is missing: apt-get install -y ffmpeg");
    let mut stdin = tool.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = tool.wait_with_output().unwrap();
    feeding.join().unwrap();
    assert!(output.status.success(), "ffmpeg {line}");
    output.stdout
}

/// What FFmpeg hears in `packets` of AAC: one row of samples per channel.
pub(crate) fn hear_aac(config: &[u8], packets: &[Bytes], channels: usize) -> Vec<Vec<f32>> {
    // An ADTS header says what two bytes of AudioSpecificConfig say.
    let (rate, layout) = ((config[0] & 7) << 1 | config[1] >> 7, config[1] >> 3 & 15);
    let mut adts = Vec::new();
    for packet in packets {
        let len = packet.len() + 7;
        adts.extend([
            0xff,
            0xf1,
            1 << 6 | rate << 2 | layout >> 2,
            (layout & 3) << 6 | (len >> 11) as u8,
            (len >> 3) as u8,
            (len << 5) as u8 | 0x1f,
            0xfc,
        ]);
        adts.extend_from_slice(packet);
    }
    rows(&ffmpeg("-f aac -i - -f f32le -", &adts), channels)
}

/// What FFmpeg hears in `packets` of Opus, with nothing skipped at the beginning.
pub(crate) fn hear_opus(packets: &[Bytes], channels: usize) -> Vec<Vec<f32>> {
    let mut head = b"OpusHead\x01".to_vec();
    head.extend([channels as u8, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0]);
    let mut ogg = page(0, 2, 0, &head);
    ogg.extend(page(1, 0, 0, b"OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"));
    for (number, packet) in (2u32..).zip(packets) {
        ogg.extend(page(number, 0, u64::from(number - 1) * 960, packet));
    }
    rows(&ffmpeg("-f ogg -i - -f f32le -", &ogg), channels)
}

/// Interleaved samples, one row per channel.
pub(crate) fn rows(bytes: &[u8], channels: usize) -> Vec<Vec<f32>> {
    let samples: Vec<_> = bytes
        .chunks_exact(4)
        .map(|sample| f32::from_le_bytes(sample.try_into().unwrap()))
        .collect();
    let row = |channel| samples.iter().skip(channel).step_by(channels).copied().collect();
    (0..channels).map(row).collect()
}

/// The packets of an Ogg stream (RFC 3533), headers first.
pub(crate) fn packets_of_ogg(mut ogg: &[u8]) -> Vec<Bytes> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while !ogg.is_empty() {
        assert_eq!(&ogg[..4], b"OggS");
        let segments = usize::from(ogg[26]);
        let (table, mut body) = ogg[27..].split_at(segments);
        for length in table {
            let (segment, rest) = body.split_at((*length).into());
            packet.extend_from_slice(segment);
            body = rest;
            // FFmpeg ends FLAC with a packet of nothing.
            if *length < 255 && !packet.is_empty() {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        ogg = body;
    }
    packets
}

/// The raw access units of an ADTS stream, and its first two bytes of AudioSpecificConfig.
pub(crate) fn packets_of_adts(mut adts: &[u8]) -> (Bytes, Vec<Bytes>) {
    let rate = adts[2] >> 2 & 15;
    let layout = (adts[2] & 1) << 2 | adts[3] >> 6;
    let config = vec![2 << 3 | rate >> 1, (rate & 1) << 7 | layout << 3];
    let mut packets = Vec::new();
    while !adts.is_empty() {
        let len = usize::from(adts[3] & 3) << 11 | usize::from(adts[4]) << 3 | usize::from(adts[5]) >> 5;
        packets.push(Bytes::copy_from_slice(&adts[7..len]));
        adts = &adts[len..];
    }
    (config.into(), packets)
}

/// One packet as a page of its own.
fn page(number: u32, flags: u8, position: u64, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\x00".to_vec();
    page.push(flags);
    page.extend(position.to_le_bytes());
    page.extend(1u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    let segments = packet.len() / 255 + 1;
    page.push(segments as u8);
    page.extend(vec![255; segments - 1]);
    page.push((packet.len() % 255) as u8);
    page.extend_from_slice(packet);
    let sum = page.iter().fold(0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}
