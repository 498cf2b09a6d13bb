//! The relays that a server is compared with: they copy a publisher's bytes to the readers' sockets and know nothing.
//!
//! The *null relay* does one vectored write per frame and reader: the least that a server can do that takes frames as its
//! unit; told to merge, it does one for all frames that came within a time. The *packet relay* writes every RTP packet on as soon as it is there: the least latency. Neither speaks RTSP: a
//! connection says `PUBLISH name` or `READ name` and a line end, then interleaved packets flow. Sockets do not block, and a
//! publisher is waited for with epoll, which no server of many can do without.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use tokio::io::AsyncReadExt;

use crate::wire::{Part, split_packet};

/// What is written at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A frame: everything up to a marker bit.
    Frame,
    /// All frames that are there when so much time has passed since the first was. Without time: all of one read.
    Merged(Duration),
    /// A packet.
    Packet,
}

/// A reader that has this much waiting is sent away.
const MAX_BACKLOG: usize = 8 << 20;
/// A publisher's frame must end within this much.
const MAX_FRAME: usize = 16 << 20;
/// Whoever connects says what it wants within this time and length.
const HELLO_TIME: Duration = Duration::from_secs(2);
const HELLO_SIZE: usize = 256;
/// How often the listener looks whether it shall stop.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

type Group = Arc<Mutex<Vec<Outlet>>>;

/// Serves until told to stop.
pub(crate) fn serve(listener: &TcpListener, unit: Unit, stop: &AtomicBool) -> Result<()> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    listener.set_nonblocking(true)?;
    while !stop.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(STOP_INTERVAL);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let (publishes, name) = match hello(&stream) {
            Ok(hello) => hello,
            Err(error) => {
                eprintln!("relay: {error:#}");
                continue;
            }
        };
        let group = groups.entry(name).or_default().clone();
        if publishes {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let relayed = runtime
                    .map_err(anyhow::Error::from)
                    .and_then(|it| it.block_on(relay(stream, unit, &group)));
                if let Err(error) = relayed {
                    eprintln!("relay: {error:#}");
                }
            });
        } else {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            lock(&group).push(Outlet {
                stream,
                backlog: Vec::new(),
            });
        }
    }
    Ok(())
}

fn lock(group: &Group) -> std::sync::MutexGuard<'_, Vec<Outlet>> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the first line, a byte at a time so as not to take what follows.
fn hello(mut stream: &TcpStream) -> Result<(bool, String)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(HELLO_TIME))?;
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        ensure!(line.len() < HELLO_SIZE, "the first line is too long");
        stream.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => break,
            [other] => line.push(other),
        }
    }
    stream.set_read_timeout(None)?;
    let line = String::from_utf8(line)?;
    match line.split_once(' ') {
        Some(("PUBLISH", name)) => Ok((true, name.to_owned())),
        Some(("READ", name)) => Ok((false, name.to_owned())),
        _ => bail!("a relay knows PUBLISH and READ, not {line:?}"),
    }
}

/// Copies until the publisher goes; then its readers go, too.
async fn relay(publisher: TcpStream, unit: Unit, group: &Group) -> Result<()> {
    publisher.set_nonblocking(true)?;
    let mut publisher = tokio::net::TcpStream::from_std(publisher)?;
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    let result = loop {
        if let Unit::Merged(window) = unit
            && !window.is_zero()
        {
            publisher.readable().await?;
            tokio::time::sleep(window).await;
        }
        if filled == buffer.len() {
            if filled >= MAX_FRAME {
                break Err(anyhow::anyhow!("no frame ends within {MAX_FRAME} bytes"));
            }
            buffer.resize(filled * 2, 0);
        }
        match publisher.read(&mut buffer[filled..]).await {
            Ok(0) => break Ok(()),
            Ok(more) => filled += more,
            Err(error) => break Err(error.into()),
        }
        let mut start = 0;
        while let Some(size) = next_unit(&buffer[start..filled], unit) {
            let bytes = &buffer[start..start + size];
            lock(group).retain_mut(|outlet| outlet.send(bytes).is_ok());
            start += size;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    };
    lock(group).drain(..).for_each(Outlet::finish);
    result
}

/// Bytes of the first whole unit.
fn next_unit(input: &[u8], unit: Unit) -> Option<usize> {
    let mut rest = input;
    let mut merged = None;
    while let Some((Part::Packet { data, .. }, behind)) = split_packet(rest) {
        rest = behind;
        let size = input.len() - rest.len();
        let ends = data.get(1).is_some_and(|second| second & 0x80 != 0);
        match unit {
            Unit::Packet => return Some(size),
            Unit::Frame if ends => return Some(size),
            Unit::Merged(_) if ends => merged = Some(size),
            Unit::Frame | Unit::Merged(_) => {}
        }
    }
    merged
}

/// A reader's socket and what it would not take yet.
#[derive(Debug)]
struct Outlet {
    stream: TcpStream,
    backlog: Vec<u8>,
}

impl Outlet {
    /// One vectored write of what waits and what is new; what is not taken waits for the next one.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let waiting = self.backlog.len();
        let written = match self
            .stream
            .write_vectored(&[IoSlice::new(&self.backlog), IoSlice::new(bytes)])
        {
            Ok(written) => written,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        self.backlog.drain(..written.min(waiting));
        self.backlog
            .extend_from_slice(&bytes[written.saturating_sub(waiting)..]);
        if self.backlog.len() > MAX_BACKLOG {
            return Err(ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    /// Gives a reader that is behind a last chance.
    fn finish(mut self) {
        // A reader that does not take the rest has lost it, which its own count shows.
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(Some(HELLO_TIME));
        let _ = self.stream.write_all(&self.backlog);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three packets, the second and third ending a frame, and one that never ends.
    const STREAM: &[u8] = b"$\x00\x00\x03\x80\x60a$\x00\x00\x04\x80\xe0bc$\x00\x00\x02\x80\xe0$\x00\x00\x09\x80";

    #[test]
    fn a_unit_is_a_packet_or_everything_up_to_a_marker_bit() {
        assert_eq!(next_unit(STREAM, Unit::Packet), Some(7));
        assert_eq!(next_unit(STREAM, Unit::Frame), Some(15));
        assert_eq!(next_unit(&STREAM[15..], Unit::Frame), Some(6));
        assert_eq!(next_unit(STREAM, MERGED), Some(21));
        assert_eq!(next_unit(&STREAM[..17], MERGED), Some(15), "one whole frame");
        assert_eq!(next_unit(&STREAM[..7], MERGED), None, "a truncated frame");
        assert_eq!(next_unit(&STREAM[21..], Unit::Packet), None, "a truncated packet");
        assert_eq!(next_unit(&STREAM[..7], Unit::Frame), None, "a truncated frame");
        assert_eq!(next_unit(b"RTSP/1.0", Unit::Packet), None);
    }

    const MERGED: Unit = Unit::Merged(Duration::from_millis(1));

    /// Publishes `stream` to two readers through a relay, in pieces.
    fn check(unit: Unit, stream: &[u8], delivered: &[u8]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| serve(&listener, unit, &stop).unwrap());
            let connect = |line: &[u8]| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(line).unwrap();
                stream
            };
            // Connections are served in the order in which they come, so both readers are there before the publisher.
            let mut readers = [connect(b"READ cam\n"), connect(b"READ cam\n")];
            let other = connect(b"READ elsewhere\n");
            let _nonsense = connect(b"GET / HTTP/1.1\n");
            let mut publisher = connect(b"PUBLISH cam\n");
            for piece in stream.chunks(5) {
                publisher.write_all(piece).unwrap();
            }
            drop(publisher);
            for reader in &mut readers {
                let mut received = Vec::new();
                reader.read_to_end(&mut received).unwrap();
                assert_eq!(received, delivered, "{unit:?}");
            }
            other.set_nonblocking(true).unwrap();
            assert_eq!(
                (&other).read(&mut [0]).unwrap_err().kind(),
                ErrorKind::WouldBlock,
                "another name gets nothing"
            );
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn every_reader_gets_exactly_the_publishers_bytes() {
        check(Unit::Frame, &STREAM[..21], &STREAM[..21]);
        check(Unit::Packet, &STREAM[..21], &STREAM[..21]);
        check(MERGED, &STREAM[..21], &STREAM[..21]);
    }

    #[test]
    fn what_is_cut_off_is_not_delivered() {
        check(Unit::Frame, STREAM, &STREAM[..21]);
        check(Unit::Packet, &STREAM[..9], &STREAM[..7]);
    }

    #[test]
    fn a_reader_that_is_slow_gets_everything_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let mut outlet = Outlet {
            stream,
            backlog: Vec::new(),
        };
        let frames: Vec<Vec<u8>> = (0..80u8).map(|number| vec![number; 100_000]).collect();
        for frame in &frames[..79] {
            outlet.send(frame).unwrap();
        }
        assert!(!outlet.backlog.is_empty(), "more was sent than a socket holds");
        let received = thread::spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).map(|_| received)
        });
        outlet.send(&frames[79]).unwrap();
        outlet.finish();
        assert!(received.join().unwrap().unwrap() == frames.concat());
    }

    #[test]
    fn a_reader_that_takes_nothing_is_sent_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let mut outlet = Outlet {
            stream,
            backlog: Vec::new(),
        };
        let frame = vec![0; 1 << 20];
        assert!((0..64).any(|_| outlet.send(&frame).is_err()), "the backlog is bounded");
    }
}
