//! `wasmtx-load`: publishes and reads in numbers, checks every frame, and says what that cost the server.
//!
//! It knows nothing of the server but the protocol it speaks, so any other can be measured in the same way. Its RTSP is
//! the client half of `wasmtx-protocol`. Beside the measurements (`run`) it holds the relays that they are compared with
//! and the program of `make bench`, which prints every figure beside its reference.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod child;
mod chunks;
mod clip;
mod flv;
mod histogram;
mod outlet;
mod pace;
mod process;
mod publisher;
mod reader;
mod relay;
mod report;
mod rtmp;
mod run;
mod sequence;
mod session;
mod sound;
mod stamp;
mod tags;
mod verify;
mod viewer;
mod wire;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ArgMatches;

use crate::{clip::Clip, relay::Unit};

fn main() -> ExitCode {
    let matches = args::command().get_matches();
    let result = match matches.subcommand() {
        Some(("run", matches)) => run(matches),
        Some(("relay", matches)) => relay(matches, args::unit(matches)),
        Some(("packet-relay", matches)) => relay(matches, Unit::Packet),
        Some(("bench", matches)) => bench(matches),
        _ => unreachable!("clap knows the subcommands"),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wasmtx-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether everything arrived.
fn run(matches: &ArgMatches) -> Result<bool> {
    let options = args::options(matches)?;
    let clip = match matches.get_one::<PathBuf>("clip") {
        Some(file) => Clip::from_file(file)?,
        None => Clip::synthetic(args::shape(matches))?,
    };
    let clip = match matches.get_one::<u64>("sound") {
        Some(bitrate) => clip.with_sound(*bitrate)?,
        None => clip,
    };
    let report = run::run(options, Arc::new(clip))?;
    if matches.get_flag("json") {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(report.is_clean())
}

fn relay(matches: &ArgMatches, unit: Unit) -> Result<bool> {
    let address = matches.get_one::<SocketAddr>("address").context("no address")?;
    let seconds = matches.get_one::<u64>("seconds").copied().unwrap_or_default();
    process::raise_file_limit();
    let listener = TcpListener::bind(address).with_context(|| format!("{address} cannot be listened on"))?;
    // Whoever started it with port 0 reads the port here.
    println!("listening on {}", listener.local_addr()?);
    let stop = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let stop = stop.clone();
        move || {
            thread::sleep(Duration::from_secs(seconds));
            stop.store(true, Ordering::Relaxed);
        }
    });
    relay::serve(&listener, unit, &stop)?;
    Ok(true)
}

fn bench(matches: &ArgMatches) -> Result<bool> {
    let readers = matches
        .get_many::<u32>("readers")
        .map(|all| all.copied().collect())
        .unwrap_or_default();
    bench::bench(&bench::Options {
        server: matches.get_one::<PathBuf>("server").cloned().unwrap_or_default(),
        window: Duration::from_secs(matches.get_one::<u64>("seconds").copied().unwrap_or_default()),
        readers,
        rows: matches.get_one::<PathBuf>("rows").cloned(),
    })?;
    Ok(true)
}
