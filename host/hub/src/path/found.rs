//! A path whose stream somebody else has to find: one question for all who ask, and what was found, until nobody reads it
//! any more. Whoever keeps the path fetches the stream; see [`PathStatus::found`](super::PathStatus::found).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use super::Path;
use crate::{Answer, Client, Found, Publication, ReadError, Resolver};

/// After an answer of no use, who asks is sent away without a question for this long.
pub(crate) const UNRESOLVED: Duration = Duration::from_secs(5);

type Question = Shared<BoxFuture<'static, Answer>>;

/// What is known about where the stream is.
#[derive(Default)]
pub(super) struct Finding {
    /// While it is being answered.
    question: Option<Question>,
    pub(super) found: Option<Arc<Found>>,
}

impl Path {
    /// Waits until the path is online, after finding out where its stream is.
    pub(crate) async fn find(
        self: &Arc<Self>,
        now: Instant,
        resolver: &Arc<dyn Resolver>,
        query: &str,
        client: &Arc<Client>,
    ) -> Result<Arc<Publication>, ReadError> {
        if self.state.lock().finding.found.is_none() {
            if self.is_unresolved(now) {
                return Err(ReadError::NotPublished);
            }
            match self.ask(resolver, client).await {
                Answer::Source(found) => self.found(found),
                Answer::Redirect(target) => return Err(ReadError::Redirect(target)),
                Answer::Nothing => {
                    self.note_unresolved(now + UNRESOLVED);
                    return self.publication().ok_or(ReadError::NotPublished);
                }
            }
        }
        self.online(query).await
    }

    /// Asks, or waits for the answer to somebody else's question.
    async fn ask(&self, resolver: &Arc<dyn Resolver>, client: &Arc<Client>) -> Answer {
        let question = {
            let mut state = self.state.lock();
            let question = &mut state.finding.question;
            question
                .get_or_insert_with(|| resolver.resolve(&self.name, client).shared())
                .clone()
        };
        let asking = Asking { path: self, question };
        asking.question.clone().await
    }

    fn found(&self, found: Arc<Found>) {
        let mut state = self.state.lock();
        // Somebody came to publish meanwhile, or it was found already.
        if state.seat.is_none() && state.finding.found.is_none() && !state.closed {
            state.finding.found = Some(found);
            self.tell(&state);
        }
    }

    /// What was found is of no use any more; the next reader asks again, after `until` if there is one.
    pub fn forget_found(&self, found: &Arc<Found>, until: Option<Instant>) {
        let mut state = self.state.lock();
        let present = &mut state.finding.found;
        if present.as_ref().is_some_and(|present| Arc::ptr_eq(present, found)) {
            *present = None;
            if let Some(until) = until {
                self.note_unresolved(until);
            }
            self.settle(state);
        }
    }

    fn is_unresolved(&self, now: Instant) -> bool {
        self.hub
            .upgrade()
            .is_some_and(|hub| hub.unresolved.holds(now, &self.name))
    }

    fn note_unresolved(&self, until: Instant) {
        if let Some(hub) = self.hub.upgrade() {
            hub.unresolved.note(&self.name, until);
        }
    }
}

/// Somebody who waits for an answer. When the last one leaves, the question goes with it: nobody would bring it forward.
struct Asking<'a> {
    path: &'a Path,
    question: Question,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.path.state.lock();
        let question = &mut state.finding.question;
        let is_mine = question.as_ref().is_some_and(|present| present.ptr_eq(&self.question));
        // The path's own and this one.
        let is_last = self.question.strong_count().is_none_or(|count| count <= 2);
        if is_mine && (is_last || self.question.peek().is_some()) {
            *question = None;
        }
    }
}
