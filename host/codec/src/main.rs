//! Re-encodes sound for the server, which starts this program and speaks to it through its standard streams.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ffmpeg_next::init() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmtx-codec: FFmpeg's libraries do not start: {error}");
            ExitCode::FAILURE
        }
    }
}
