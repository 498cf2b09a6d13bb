//! Frames as FFmpeg sees them in a file, and what two streams have in common.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{clip::Codec, tool};

/// One packet of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pts: i64,
    pub(crate) dts: i64,
    pub(crate) size: usize,
    /// Hash of the payload.
    pub(crate) hash: String,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The packets as the container stores them.
    AsStored,
    /// H264 as a byte stream without parameter sets and delimiters, wherever it came from.
    H264,
    /// H265, likewise.
    H265,
}

impl Form {
    /// In which packets of a codec are the same everywhere.
    pub(super) fn of(codec: Codec) -> Form {
        match codec {
            Codec::H264 | Codec::Both | Codec::Tone => Form::H264,
            Codec::H265 => Form::H265,
            _ => Form::AsStored,
        }
    }

    /// FFmpeg's arguments that bring packets into it. The types are those of parameter sets and access unit delimiters
    /// (ITU-T H.264 table 7-1, H.265 table 7-1).
    pub(super) fn filter(self) -> &'static [&'static str] {
        match self {
            Form::AsStored => &[],
            Form::H264 => &["-bsf:v", "filter_units=remove_types=7-9"],
            Form::H265 => &["-bsf:v", "filter_units=remove_types=32-35"],
        }
    }
}

/// The packets of a file's first stream, in coding order.
#[track_caller]
pub(super) fn packets(file: &Path, form: Form) -> Vec<Packet> {
    packets_of(file, 0, form)
}

/// The packets of one of a file's streams, in coding order.
#[track_caller]
pub(super) fn packets_of(file: &Path, stream: usize, form: Form) -> Vec<Packet> {
    let stream = format!("0:{stream}");
    let line = ["-v", "error", "-i"]
        .into_iter()
        .map(AsRef::<Path>::as_ref)
        .chain([file]);
    let line = line.chain(["-map", &stream, "-c", "copy"].into_iter().map(AsRef::as_ref));
    let line = line.chain(form.filter().iter().map(AsRef::as_ref));
    let line = line.chain(
        ["-f", "framehash", "-hash", "sha256", "-"]
            .into_iter()
            .map(AsRef::as_ref),
    );
    parse(&String::from_utf8_lossy(&tool::run("ffmpeg", line)))
}

/// What FFmpeg's `framehash` wrote.
pub(super) fn parse(text: &str) -> Vec<Packet> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let packets = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        // What may follow is side data of the container.
        let [_, dts, pts, _, size, hash, ..] = fields[..] else {
            return None;
        };
        Some(Packet {
            pts: pts.parse().ok()?,
            dts: dts.parse().ok()?,
            size: size.parse().ok()?,
            hash: hash.to_owned(),
        })
    });
    packets.collect()
}

/// The hashes of a file's frames in the one form that does not depend on container and player.
#[track_caller]
pub(crate) fn hashes_of(file: &Path, codec: Codec) -> Vec<String> {
    packets(file, Form::of(codec))
        .into_iter()
        .map(|packet| packet.hash)
        .collect()
}

/// The hashes of a file's decoded pictures.
#[track_caller]
pub(crate) fn decoded_hashes(file: &Path) -> Vec<String> {
    let line = ["-v", "error", "-i"]
        .into_iter()
        .map(AsRef::<Path>::as_ref)
        .chain([file]);
    let rest = [
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "framehash",
        "-hash",
        "sha256",
        "-",
    ];
    let output = tool::run("ffmpeg", line.chain(rest.into_iter().map(AsRef::as_ref)));
    parse(&String::from_utf8_lossy(&output))
        .into_iter()
        .map(|packet| packet.hash)
        .collect()
}

/// The hash of a payload, as FFmpeg writes it.
pub(crate) fn hash(payload: &[u8]) -> String {
    Sha256::digest(payload)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Asserts that `got` is a run of `sent` without gap or repetition, at least `least` frames long, and answers where it
/// begins.
#[track_caller]
pub(crate) fn assert_run(sent: &[String], got: &[String], least: usize) -> usize {
    assert!(got.len() >= least, "{} frames came, {least} were expected", got.len());
    let first = got.first().expect("at least one frame");
    let begin = sent
        .iter()
        .position(|hash| hash == first)
        .expect("the first frame that came was never sent");
    let differs = sent[begin..].iter().zip(got).position(|(sent, got)| sent != got);
    if let Some(number) = differs {
        let found = sent.iter().position(|hash| *hash == got[number]);
        panic!(
            "frame {number} of {} (from {begin}) should be frame {} and is {found:?}",
            got.len(),
            begin + number
        );
    }
    assert!(got.len() <= sent.len() - begin, "more frames came than were sent");
    begin
}
