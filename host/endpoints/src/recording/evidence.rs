//! How much time has really passed: what may be deleted for its age is judged by it, not by a clock that somebody sets.
//!
//! *Elapsed* time only grows. While the machine runs it grows with the machine's own clock, which nobody sets, across
//! restarts of the server, too. For the time that the machine was off there is only the wall clock: it counts once that
//! has been steady for a while after the start (the second confirmation), and not at all when it went backwards.
//!
//! A wall clock that disagrees with the machine's by more than an hour is *wrong* until it has been steady for a while.
//! Meanwhile nothing is deleted for its age.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use super::clock::Clock;

/// A wall clock that steps by more (microseconds) has been set wrong, or had been.
pub(super) const STEP: u64 = 3_600_000_000;
/// A mark of the file's form.
const VERSION: &str = "1";

/// What is known about time.
#[derive(Debug)]
pub(super) struct Evidence {
    file: PathBuf,
    seen: Option<Seen>,
    /// Since when the wall clock has agreed with the machine's, by the machine's; microseconds.
    steady: u64,
    /// Time that the machine was off, by a wall clock that is not confirmed yet.
    off: u64,
    wrong: bool,
    /// By how much it was set, until somebody has been told.
    stepped: Option<i64>,
    /// This run has looked.
    looked: bool,
}

/// What the clocks showed when they were last looked at; microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    elapsed: u64,
    running: u64,
    wall: u64,
    boot: Option<String>,
}

/// What may be concluded now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Microseconds of elapsed time.
    pub(super) elapsed: u64,
    /// Microseconds since 1970, by the wall clock.
    pub(super) wall: u64,
    /// The wall clock is confirmed: it has been steady for as long as was asked.
    pub(super) confirmed: bool,
    /// The wall clock disagrees with the machine's.
    pub(super) wrong: bool,
    /// It has begun to disagree since the last look, by so many microseconds.
    pub(super) stepped: Option<i64>,
}

impl Evidence {
    /// What the last run has kept in a file.
    pub(super) fn open(file: PathBuf) -> Evidence {
        let seen = fs::read_to_string(&file).ok().and_then(|text| read(&text));
        Evidence {
            file,
            seen,
            steady: 0,
            off: 0,
            wrong: false,
            stepped: None,
            looked: false,
        }
    }

    /// Microseconds of elapsed time.
    pub(super) fn elapsed(&mut self, clock: &dyn Clock) -> u64 {
        self.advance(clock).elapsed
    }

    /// Looks at the clocks, and keeps what they show. `confirm` is how long a wall clock has to be steady.
    pub(super) fn look(&mut self, clock: &dyn Clock, confirm: Duration) -> Now {
        let seen = self.advance(clock);
        let steady = seen.running.saturating_sub(self.steady);
        let confirmed = steady >= micros(confirm);
        if confirmed {
            self.wrong = false;
            let off = std::mem::take(&mut self.off);
            if let Some(seen) = &mut self.seen {
                seen.elapsed = seen.elapsed.saturating_add(off);
            }
        }
        let elapsed = self.seen.as_ref().map_or(0, |seen| seen.elapsed);
        if let Err(error) = self.keep() {
            tracing::warn!(path = %self.file.display(), "how old recordings are is not kept: {error}");
        }
        Now {
            elapsed,
            wall: seen.wall,
            confirmed,
            wrong: self.wrong,
            stepped: self.stepped.take(),
        }
    }

    fn advance(&mut self, clock: &dyn Clock) -> Seen {
        let (running, wall) = (micros(clock.running()), clock.wall());
        let mut elapsed = 0;
        let first = !std::mem::replace(&mut self.looked, true);
        let boot = match &self.seen {
            Some(seen) if !first => seen.boot.clone(),
            _ => clock.boot(),
        };
        match &self.seen {
            None => self.steady = running,
            Some(seen) => {
                let same = !first || (boot.is_some() && seen.boot == boot && running >= seen.running);
                // A machine that was off ran for as long as it runs now, at least.
                let passed = if same {
                    running.saturating_sub(seen.running)
                } else {
                    running
                };
                elapsed = seen.elapsed.saturating_add(passed);
                let expected = seen.wall.saturating_add(passed);
                let differs = if same {
                    wall.abs_diff(expected) > STEP
                } else {
                    wall < seen.wall
                };
                if first {
                    self.steady = if same { seen.running } else { running };
                    self.off = if same { 0 } else { wall.saturating_sub(expected) };
                }
                if differs {
                    (self.steady, self.off) = (running, 0);
                    if !self.wrong {
                        self.stepped = Some(wall.cast_signed().wrapping_sub(expected.cast_signed()));
                    }
                    self.wrong = true;
                }
            }
        }
        let seen = Seen {
            elapsed,
            running,
            wall,
            boot,
        };
        self.seen = Some(seen.clone());
        seen
    }

    fn keep(&self) -> io::Result<()> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let beside = self.file.with_extension("new");
        let mut file = File::create(&beside)?;
        let boot = seen.boot.as_deref().unwrap_or_default();
        writeln!(file, "{VERSION} {} {} {} {boot}", seen.elapsed, seen.running, seen.wall)?;
        file.sync_data()?;
        fs::rename(beside, &self.file)
    }
}

/// An older file, or a damaged one, is none: what is known of ages then begins anew.
fn read(text: &str) -> Option<Seen> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    if words.next()? != VERSION {
        return None;
    }
    let mut number = || words.next()?.parse::<u64>().ok();
    let (elapsed, running, wall) = (number()?, number()?, number()?);
    Some(Seen {
        elapsed,
        running,
        wall,
        boot: words.next().filter(|boot| !boot.is_empty()).map(str::to_owned),
    })
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{env, path::Path};

    use super::*;

    const SECOND: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const CONFIRM: Duration = Duration::from_secs(1_800);

    #[derive(Clone)]
    struct At {
        wall: u64,
        running: u64,
        boot: &'static str,
    }

    impl Clock for At {
        fn wall(&self) -> u64 {
            self.wall
        }

        fn running(&self) -> Duration {
            Duration::from_micros(self.running)
        }

        fn boot(&self) -> Option<String> {
            Some(self.boot.to_owned()).filter(|boot| !boot.is_empty())
        }
    }

    fn file(name: &str) -> PathBuf {
        let file = env::temp_dir().join(format!("wasmtx-evidence-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&file);
        file
    }

    fn look(file: &Path, at: &At) -> Now {
        Evidence::open(file.to_owned()).look(at, CONFIRM)
    }

    fn noon() -> At {
        At {
            wall: 1_717_243_200 * SECOND,
            running: 5 * HOUR,
            boot: "a",
        }
    }

    #[test]
    fn time_that_the_machine_ran_is_counted_across_restarts() {
        let file = file("restarts");
        let mut at = noon();
        assert_eq!(look(&file, &at).elapsed, 0);
        for hours in 1..5 {
            (at.wall, at.running) = (at.wall + HOUR, at.running + HOUR);
            let now = look(&file, &at);
            assert_eq!((now.elapsed, now.confirmed, now.wrong), (hours * HOUR, true, false));
        }
        let _ = fs::remove_file(file);
    }

    #[test]
    fn a_set_clock_is_told_once_and_confirmed_later() {
        let file = file("set");
        let mut at = noon();
        let mut evidence = Evidence::open(file.clone());
        assert!(!evidence.look(&at, CONFIRM).confirmed);
        (at.wall, at.running) = (at.wall + HOUR, at.running + HOUR);
        assert!(evidence.look(&at, CONFIRM).confirmed);
        // A minute later it shows the day after, which somebody else sees first.
        (at.wall, at.running) = (at.wall + 25 * HOUR, at.running + 60 * SECOND);
        evidence.elapsed(&at);
        let now = evidence.look(&at, CONFIRM);
        assert_eq!(now.stepped, Some((25 * HOUR - 60 * SECOND).cast_signed()));
        assert!(now.wrong && !now.confirmed);
        assert_eq!(now.elapsed, HOUR + 60 * SECOND);
        (at.wall, at.running) = (at.wall + HOUR / 4, at.running + HOUR / 4);
        let now = evidence.look(&at, CONFIRM);
        assert!(now.wrong && !now.confirmed && now.stepped.is_none());
        (at.wall, at.running) = (at.wall + HOUR / 2, at.running + HOUR / 2);
        let now = evidence.look(&at, CONFIRM);
        assert!(!now.wrong && now.confirmed);
        assert_eq!(now.elapsed, HOUR + 60 * SECOND + HOUR / 4 * 3);
        let _ = fs::remove_file(file);
    }

    #[test]
    fn time_off_counts_once_when_it_is_confirmed_and_never_backwards() {
        for (off, counted) in [(48 * HOUR, 48 * HOUR), (0, 0)] {
            let file = file("off");
            let mut at = noon();
            look(&file, &at);
            at = At {
                wall: at.wall + off + 60 * SECOND,
                running: 60 * SECOND,
                boot: "b",
            };
            let mut evidence = Evidence::open(file.clone());
            assert_eq!(evidence.look(&at, CONFIRM).elapsed, 60 * SECOND);
            for halves in 1..4 {
                (at.wall, at.running) = (at.wall + HOUR / 2, at.running + HOUR / 2);
                let now = evidence.look(&at, CONFIRM);
                assert_eq!(now.elapsed, 60 * SECOND + halves * HOUR / 2 + counted);
            }
            let _ = fs::remove_file(file);
        }
        let file = file("past");
        look(&file, &noon());
        let past = At {
            wall: 5,
            running: HOUR,
            boot: "b",
        };
        let now = look(&file, &past);
        assert!(now.wrong && now.stepped.is_some());
        assert_eq!(now.elapsed, HOUR);
        let _ = fs::remove_file(file);
    }

    #[test]
    fn a_run_that_cannot_be_told_apart_is_a_new_one() {
        let file = file("unknown");
        let mut at = noon();
        at.boot = "";
        look(&file, &at);
        at.running = 10 * SECOND;
        assert_eq!(look(&file, &at).elapsed, 10 * SECOND);
        let _ = fs::remove_file(file);
    }

    #[test]
    fn a_damaged_file_is_none() {
        let whole = "1 5 6 7 boot-id\n";
        assert!(read(whole).is_some());
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_none(), "{cut}");
        }
        for text in ["2 5 6 7 a\n", "1 x 6 7 a\n", "1 5 6\n", "1 5 6 -7 a\n"] {
            assert!(read(text).is_none(), "{text}");
        }
        assert_eq!(read("1 5 6 7 \n").unwrap().boot, None);
    }
}
