//! Re-encodes sound for the server, which starts this program and speaks to it through its standard streams (`wire.rs`).
//! It ends with the server, and when the server is done with it.

mod av;
mod worker;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 || io::stdin().is_terminal() {
        // What somebody sees who starts it by hand, or asks what it can do.
        println!("wasmtx-codec {}, started by wasmtx", env!("CARGO_PKG_VERSION"));
        println!("{}", av::about());
        return ExitCode::SUCCESS;
    }
    match worker::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
