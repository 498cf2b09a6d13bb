//! What re-encoding costs: processor time of the worker per second of sound, beside FFmpeg's own tool doing the same, and how
//! long a worker takes to be there.

#[path = "../tests/it/tool.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod tool;
#[path = "../tests/it/worker.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod worker;

use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use bytes::Bytes;
use wasmtx_codec::wire::{Decode, Encode, Source, Target};

use tool::{ffmpeg, packets_of_adts, packets_of_ogg};
use worker::{Converted, Worker, source, target};

/// Of sound, in each figure.
const SECONDS: usize = 120;
/// Starts, of which the one in the middle counts.
const STARTS: usize = 21;
/// Two tones and a hiss: neither silence, which costs nothing, nor noise, which costs most.
const STEREO: &str = "aevalsrc=0.3*sin(440*2*PI*t)+0.03*random(0)|0.3*sin(1000*2*PI*t)+0.03*random(1):s=48000";

fn main() {
    start();
    let made = |how: &str| ffmpeg(&format!("-f lavfi -i {STEREO}:d={SECONDS} {how} -"), &[]);

    let opus = made("-c:a libopus -b:a 96k -f ogg");
    let packets = packets_of_ogg(&opus).split_off(2);
    let (from, to) = (source(Decode::Opus, 48_000, 2), target(Encode::Aac, 48_000, 2));
    row(
        "Opus to AAC, 48 kHz stereo",
        &from,
        to,
        &packets,
        960,
        ("ogg", &opus, "-c:a aac -b:a 128k"),
    );

    let (parameters, packets) = {
        let adts = made("-c:a aac -b:a 128k -f adts");
        let (parameters, packets) = packets_of_adts(&adts);
        (parameters, (packets, adts))
    };
    let (from, to) = (
        Source {
            parameters,
            ..source(Decode::Aac, 48_000, 2)
        },
        target(Encode::Opus, 48_000, 2),
    );
    let by = ("aac", &packets.1[..], "-c:a libopus -b:a 96k");
    row("AAC to Opus, 48 kHz stereo", &from, to, &packets.0, 1_024, by);

    let law = made("-ac 1 -ar 8000 -f mulaw");
    let packets: Vec<_> = law.chunks_exact(160).map(Bytes::copy_from_slice).collect();
    let (from, to) = (source(Decode::MuLaw, 8_000, 1), target(Encode::Aac, 48_000, 2));
    let by = ("mulaw -ar 8000 -ac 1", &law[..], "-c:a aac -b:a 128k -ar 48000 -ac 2");
    row("G711 to AAC, 8 kHz mono to 48 kHz stereo", &from, to, &packets, 160, by);
}

/// From the start of the process to its first answer.
fn start() {
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let timed = |start: &dyn Fn()| {
        let times = (0..STARTS).map(|_| {
            let begin = Instant::now();
            start();
            begin.elapsed().as_secs_f64() * 1e3
        });
        median(times.collect())
    };
    let worker = timed(&|| drop(Worker::start().end()));
    let tool = timed(&|| {
        let version = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status();
        assert!(version.expect("ffmpeg is missing: apt-get install -y ffmpeg").success());
    });
    println!(
        "| codec: worker, from its start to its end | {worker:.1} ms | {tool:.1} ms (ffmpeg -version) | 150 ms | – |"
    );
}

fn row(
    figure: &str,
    source: &Source,
    target: Target,
    packets: &[Bytes],
    samples: i64,
    (format, input, how): (&str, &[u8], &str),
) {
    let mut worker = Worker::start();
    let mut converted = Converted::default();
    worker.open(1, source, target);
    for (packet, number) in packets.iter().zip(0..) {
        worker.push(1, number * samples, packet.clone(), &mut converted);
    }
    worker.flush(1, &mut converted);
    let used = cpu(worker.process.id());
    worker.end();
    assert!(converted.problems.is_empty());
    let share = |seconds: f64| seconds * 100.0 / SECONDS as f64;
    println!(
        "| codec: {figure}, share of a core | {:.2} % | {:.2} % (ffmpeg) | 3 % | – |",
        share(used),
        share(tool(format, input, how))
    );
}

/// Processor time of a living process, in seconds. proc(5): fields 14 and 15 are hundredths.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    let fields = stat.rsplit(')').next().expect("a name in brackets").split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// Processor time of FFmpeg's tool, in seconds, as it says itself.
fn tool(format: &str, input: &[u8], how: &str) -> f64 {
    let file = std::env::temp_dir().join(format!("wasmtx-reencode-{}", std::process::id()));
    fs::write(&file, input).expect("a directory for temporary files");
    let output = Command::new("ffmpeg")
        .args("-hide_banner -nostdin -benchmark -f".split(' '))
        .args(format.split(' '))
        .arg("-i")
        .arg(&file)
        .args(how.split(' '))
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg is missing: apt-get install -y ffmpeg");
    let _ = fs::remove_file(&file);
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words
        .lines()
        .find(|line| line.starts_with("bench: utime="))
        .expect("a line with what was used");
    let number = |name: &str| -> f64 {
        let (_, rest) = line.split_once(name).expect("the name of a figure");
        rest.split('s')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("seconds")
    };
    number("utime=") + number("stime=")
}
