//! The server's side: a child process per compile thread, watched, and replaced when it dies of what it was given.

use std::{
    io::{self, Read, Write},
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{self, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    wire::{self, Bounds},
    worker::COMPILE_ARGUMENT,
};

/// By the clock a compilation may take longer than by its processor time: the child gives way to everybody else.
const PATIENCE: Duration = Duration::from_secs(60);
/// A child that took longer than this is not kept: what the compilation left in its memory would count against the next.
const KEPT: Duration = Duration::from_secs(5);
/// Bytes of a dying child's words.
const WORDS_LEN: u64 = 4 << 10;

impl Bounds {
    fn patience(&self) -> Duration {
        PATIENCE + 4 * Duration::from_secs(self.seconds.into())
    }
}

/// How a compilation ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Code(Vec<u8>),
    /// Why there is no code: the compiler's words, or the bound that it met.
    Refused(String),
    /// The child was ended by a signal that is none of our bounds.
    Killed(String),
}

impl Outcome {
    pub(super) fn into_result(self) -> Result<Vec<u8>, String> {
        match self {
            Outcome::Code(code) => Ok(code),
            Outcome::Refused(reason) | Outcome::Killed(reason) => Err(reason),
        }
    }
}

/// Compiles in the child that is there, or in a new one. `child` is what is left for the next time.
pub(super) fn compile(child: &mut Option<Child>, program: &Path, component: &[u8], bounds: &Bounds) -> Outcome {
    let running = match child.take().and_then(Child::alive) {
        Some(running) => running,
        None => match Child::spawn(program) {
            Ok(started) => started,
            Err(error) => return Outcome::Refused(format!("the compiler does not start: {error}")),
        },
    };
    let begun = Instant::now();
    let deadline = begun + bounds.patience();
    match running.ask(component, bounds, deadline) {
        Ok(answer) => {
            if begun.elapsed() < KEPT {
                *child = Some(running);
            }
            answer.map_or_else(Outcome::Refused, Outcome::Code)
        }
        Err(error) => running.post_mortem(&error, bounds),
    }
}

/// A running child. It ends when this is dropped.
pub(super) struct Child {
    process: process::Child,
    socket: UnixStream,
    words: ChildStderr,
}

impl Child {
    fn spawn(program: &Path) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut process = Command::new(program)
            .arg0("wasmtx")
            .arg(COMPILE_ARGUMENT)
            .env_clear()
            .current_dir("/")
            // What a terminal sends to the server is not meant for it.
            .process_group(0)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let words = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Child {
            process,
            socket: ours,
            words,
        })
    }

    /// Itself, unless something ended it while it waited.
    fn alive(mut self) -> Option<Child> {
        matches!(self.process.try_wait(), Ok(None)).then_some(self)
    }

    fn ask(&self, component: &[u8], bounds: &Bounds, deadline: Instant) -> io::Result<Result<Vec<u8>, String>> {
        let mut timed = Timed {
            socket: &self.socket,
            deadline,
        };
        wire::write_request(&mut timed, bounds, component)?;
        wire::read_answer(&mut timed)
    }

    /// Ends a child that did not answer, and finds out why it did not.
    fn post_mortem(mut self, error: &io::Error, bounds: &Bounds) -> Outcome {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            let seconds = bounds.patience().as_secs();
            return Outcome::Refused(format!(
                "compiling it took longer than {seconds} s on this busy machine"
            ));
        }
        let hung_up = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        // One that hung up is dead or about to be, and its own end says more than ours.
        if !hung_up.contains(&error.kind()) {
            let _ = self.process.kill();
        }
        let Ok(status) = self.process.wait() else {
            return Outcome::Refused(format!("the compiler does not answer: {error}"));
        };
        let mut words = Vec::new();
        let _ = (&mut self.words).take(WORDS_LEN).read_to_end(&mut words);
        explain(status, &String::from_utf8_lossy(&words), bounds)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Why a child died.
fn explain(status: ExitStatus, words: &str, bounds: &Bounds) -> Outcome {
    let signal = status.signal().and_then(Signal::from_named_raw);
    Outcome::Refused(match signal {
        Some(Signal::XCPU) => {
            let seconds = bounds.seconds;
            format!("compiling it takes more than {seconds} s of processor time (compileTimeout)")
        }
        Some(Signal::ABORT) if words.contains("memory allocation") => {
            let mebibytes = bounds.memory >> 20;
            format!("compiling it takes more than {mebibytes} MiB of memory (compileMemory)")
        }
        Some(Signal::ABORT) if words.contains("overflowed its stack") => {
            "compiling it takes more stack than the compiler has".to_owned()
        }
        None if !words.is_empty() => format!("the compiler does not work: {}", words.trim()),
        Some(_) => return Outcome::Killed(format!("the compiler was ended while it worked: {status}")),
        None => format!("the compiler ended while it worked: {status}"),
    })
}

/// A socket whose reads and writes all end by one deadline.
struct Timed<'a> {
    socket: &'a UnixStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buf)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        seconds: 30,
        memory: 2 << 30,
    };

    fn reason(raw: i32, words: &str) -> String {
        match explain(ExitStatus::from_raw(raw), words, &BOUNDS) {
            Outcome::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_bound_that_was_met_is_named() {
        assert!(reason(Signal::XCPU.as_raw(), "").contains("30 s of processor time"));
        let memory = reason(Signal::ABORT.as_raw(), "memory allocation of 1073741824 bytes failed\n");
        assert!(memory.contains("2048 MiB of memory"), "{memory}");
        let stack = "thread 'main' has overflowed its stack\nfatal runtime error: stack overflow";
        assert!(reason(Signal::ABORT.as_raw(), stack).contains("stack"));
    }

    #[test]
    fn a_kill_from_outside_is_no_bound() {
        let outcome = explain(ExitStatus::from_raw(Signal::KILL.as_raw()), "", &BOUNDS);
        assert!(matches!(outcome, Outcome::Killed(_)), "{outcome:?}");
    }

    #[test]
    fn a_child_that_cannot_work_says_why() {
        assert!(reason(1 << 8, "wasmtx: Function not implemented\n").ends_with("Function not implemented"));
        let outcome = compile(&mut None, Path::new("no/such/program"), b"", &BOUNDS);
        assert!(matches!(outcome, Outcome::Refused(reason) if reason.contains("does not start")));
    }

    #[test]
    fn a_program_that_does_not_answer_is_given_up() {
        // It reads nothing, writes nothing, and ends at once.
        let mut child = None;
        let outcome = compile(&mut child, Path::new("/bin/true"), b"component", &BOUNDS);
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        assert!(child.is_none());
    }

    #[test]
    fn a_child_past_its_time_by_the_clock_is_ended() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut timed = Timed {
            socket: &ours,
            deadline: Instant::now(),
        };
        let error = timed.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
