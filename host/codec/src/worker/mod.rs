//! The process: reads what the server asks, has it done by a few threads, and answers.

mod confine;
mod converter;
mod pool;
mod sound;

use std::{
    io::{self, BufReader},
    panic, process,
};

use wasmtx_codec::wire::{self, Answer, Request};

use self::pool::{Mouth, Pool};
pub(crate) use self::sound::Sound;
use crate::av;

/// Threads, whatever the server says: one converter takes a fiftieth of a core.
const MAX_THREADS: u8 = 16;
/// Bytes that are read at once: a wake of the server for many streams.
const READ_LEN: usize = 64 << 10;

/// Works until the server hangs up.
///
/// # Errors
/// A system that refuses to confine this process, or a peer that is no server of this version.
pub(crate) fn run() -> io::Result<()> {
    confine::give_up()?;
    // A converter that panics left FFmpeg in a state that nobody knows: the server starts another process.
    let words = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        words(panic);
        process::abort();
    }));
    av::start().map_err(io::Error::other)?;
    let mut from = BufReader::with_capacity(READ_LEN, io::stdin().lock());
    let Some(body) = wire::read_message(&mut from)? else {
        return Ok(());
    };
    let Request::Hello {
        version: wire::VERSION,
        memory,
        threads,
    } = Request::parse(body)?
    else {
        return Err(io::Error::other(
            "the server and wasmtx-codec are of different versions",
        ));
    };
    let mouth = Mouth::default();
    let mut pool = Pool::start(threads.clamp(1, MAX_THREADS), memory, &mouth)?;
    confine::limit(memory)?;
    mouth.say(&Answer::Hello { version: wire::VERSION });
    while let Some(body) = wire::read_message(&mut from)? {
        pool.handle(Request::parse(body)?);
    }
    Ok(())
}
