//! What can go wrong inside a guest, told apart by cause.

use std::{any::Any, fmt};

use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::{
    bindings::plugin::types::PluginError,
    hits::Limit,
    host::log::clean,
    metrics::{Place, count},
};

/// Bytes of a failure's text in the log: a trap with 16 frames of backtrace fits.
const TEXT_LEN: usize = 4 << 10;
/// Bytes of a guest's own words.
const WORDS_LEN: usize = 512;

/// Which counter a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Trap,
    Deadline,
    Memory,
    Late,
    Other,
}

/// A call that did not end well. The instance is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) text: String,
    /// The bound that was met, if one was.
    limit: Option<Limit>,
}

impl Failure {
    /// Of wasmtime's error. `refused` says that the meter refused a growth during the call, and why.
    pub(crate) fn of(error: &wasmtime::Error, refused: Option<Limit>) -> Failure {
        let trap = error.downcast_ref::<Trap>();
        let cause = match trap {
            _ if refused.is_some() => Cause::Memory,
            Some(Trap::Interrupt) => Cause::Deadline,
            Some(_) => Cause::Trap,
            None => Cause::Other,
        };
        let text = match cause {
            Cause::Deadline => "the call took too long".to_owned(),
            // The cause first: the backtrace, which wasmtime puts in front of it, may be cut.
            _ => format!("{}: {error}", error.root_cause())
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" | "),
        };
        let limit = match trap {
            _ if refused.is_some() => refused,
            Some(Trap::StackOverflow) => Some(Limit::Stack),
            None if error.is::<PoolConcurrencyLimitError>() => Some(Limit::Instances),
            // wasmtime has no types for these two.
            None if text.contains("fuel allocated for hostcalls") => Some(Limit::Hostcall),
            None if text.contains("handle limit exceeded") => Some(Limit::Handles),
            _ => None,
        };
        Failure {
            cause,
            text: clean(&text, TEXT_LEN),
            limit,
        }
    }

    /// Of anything else that ends an instance.
    pub(crate) fn other(text: impl Into<String>) -> Failure {
        Failure {
            cause: Cause::Other,
            text: text.into(),
            limit: None,
        }
    }

    /// Of a call that waited too long in the host, or for its turn. Not the guest's own doing.
    pub(crate) fn late() -> Failure {
        Failure {
            cause: Cause::Late,
            text: "no answer in time".to_owned(),
            limit: None,
        }
    }

    /// With the bound of a call's time, if that is what it was about: of the guest's own time, and of the time in all.
    pub(crate) fn timed(mut self, running: Limit, lasting: Limit) -> Failure {
        let limit = match self.cause {
            Cause::Deadline => running,
            Cause::Late => lasting,
            _ => return self,
        };
        self.limit = Some(limit);
        self.text = format!("{} ({})", self.text, limit.key());
        self
    }

    /// With the bound that was met.
    pub(crate) fn against(mut self, limit: Limit) -> Failure {
        self.limit = Some(limit);
        self
    }

    /// Of a panic in a host function: our bug, kept inside the one stream.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
        let words = panic
            .downcast_ref::<&str>()
            .copied()
            .or(panic.downcast_ref::<String>().map(String::as_str));
        Failure::other(format!(
            "the host panics in a call of the guest: {}",
            words.unwrap_or("no words")
        ))
    }

    pub(crate) fn count(&self, place: &Place) {
        if let Some(limit) = self.limit {
            place.hits.hit(limit);
        }
        let counts = &place.counts;
        count(match self.cause {
            Cause::Trap => &counts.traps,
            Cause::Deadline | Cause::Late => &counts.deadlines,
            Cause::Memory => &counts.memory,
            Cause::Other => &counts.other,
        });
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why there is no instance, or why it does not take a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The instance failed.
    Failed(Failure),
    /// The configuration is wrong there.
    Config { pointer: String, message: String },
    /// The plugin has nothing to do with this stream.
    Unsupported,
    /// The plugin forbids it.
    Denied,
}

impl Refused {
    /// As a failure, where any refusal is one.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Refused::Failed(failure) => failure,
            refused => Failure::other(refused.to_string()),
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused::Failed(failure)
    }
}

impl From<PluginError> for Refused {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Config(error) => Refused::Config {
                pointer: clean(&error.pointer, WORDS_LEN),
                message: clean(&error.message, WORDS_LEN),
            },
            PluginError::Unsupported => Refused::Unsupported,
            PluginError::Denied => Refused::Denied,
            PluginError::NotReady => Failure::other("it is not ready").into(),
            PluginError::Other(words) => Failure::other(clean(&words, WORDS_LEN)).into(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Failed(failure) => failure.fmt(f),
            Refused::Config { pointer, message } => write!(f, "config{pointer}: {message}"),
            Refused::Unsupported => f.write_str("it does not support this"),
            Refused::Denied => f.write_str("it denies this"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(failure: &Failure) -> (Vec<(&'static str, u64)>, u64) {
        let place = Place::default();
        failure.count(&place);
        let usage = place.usage();
        (usage.hits, usage.traps)
    }

    #[test]
    fn a_trap_is_counted_and_so_is_the_bound_that_it_met() {
        let of = |trap: Trap| Failure::of(&trap.into(), None);
        assert_eq!(counted(&of(Trap::StackOverflow)), (vec![("stack", 1)], 1));
        assert_eq!(counted(&of(Trap::UnreachableCodeReached)), (Vec::new(), 1));
    }

    #[test]
    fn time_that_ran_out_is_that_of_the_call() {
        let timed = |failure: Failure| counted(&failure.timed(Limit::AuthBudget, Limit::AuthTimeout)).0;
        assert_eq!(timed(Failure::of(&Trap::Interrupt.into(), None)), [("authBudget", 1)]);
        assert_eq!(timed(Failure::late()), [("authTimeout", 1)]);
        assert_eq!(timed(Failure::other("else")), []);
    }
}
