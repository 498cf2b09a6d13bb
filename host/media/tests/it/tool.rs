//! `ffmpeg` and `ffprobe`, fed through their pipes.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

/// What `ffmpeg` makes out of its own test pictures and tones, by the words of `line`.
pub(crate) fn made(line: &str) -> Vec<u8> {
    run("ffmpeg", &format!("-nostdin -loglevel error {line} -"), &[])
}

/// What `ffmpeg` makes out of samples without a header, of the form that `input` names, by the words of `line`.
pub(crate) fn converted_samples(samples: &[u8], input: &str, line: &str) -> Vec<u8> {
    run(
        "ffmpeg",
        &format!("-nostdin -loglevel warning {input} -i - {line} -"),
        samples,
    )
}

/// What `ffmpeg` makes out of `input` by the words of `line`. Anything that it complains about is a failure.
pub(crate) fn converted(input: &[u8], line: &str) -> Vec<u8> {
    run("ffmpeg", &format!("-nostdin -loglevel warning -i - {line} -"), input)
}

/// A hash of every picture and every piece of sound in a file, one a line, as `ffmpeg` decodes it.
pub(crate) fn decoded(file: &[u8]) -> Vec<String> {
    let line = "-loglevel error -i - -map 0 -fps_mode passthrough -f framehash -hash md5 -";
    let hashes = String::from_utf8(run("ffmpeg", line, file)).unwrap();
    let lines = hashes.lines().filter(|line| !line.starts_with('#'));
    // stream, dts, pts, duration, size, hash
    let fields = |line: &str| line.split(',').map(|field| field.trim().to_owned()).collect::<Vec<_>>();
    let essence = |fields: Vec<String>| format!("{} {}", fields[0], fields[5]);
    lines.map(fields).map(essence).collect()
}

/// The same frames in another container.
pub(crate) fn remuxed(input: &[u8], line: &str) -> Vec<u8> {
    run(
        "ffmpeg",
        &format!("-nostdin -loglevel error -i - -map 0 -c copy {line} -"),
        input,
    )
}

/// Runs `ffprobe` over a file; answers its lines, split at the commas.
pub(crate) fn ffprobe(line: &str, input: &[u8]) -> Vec<Vec<String>> {
    let output = run("ffprobe", &format!("-loglevel warning {line} -of csv=p=0 -"), input);
    let output = String::from_utf8(output).unwrap();
    let lines = output.lines().map(|line| line.trim_end_matches(','));
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn run(program: &str, line: &str, input: &[u8]) -> Vec<u8> {
    let mut tool = Command::new(program)
        .arg("-hide_banner")
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install -y ffmpeg"));
    let mut stdin = tool.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = tool.wait_with_output().unwrap();
    feeding.join().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program} {line}: {complaints}"
    );
    output.stdout
}
