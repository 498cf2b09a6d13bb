//! What the gate said to a client, for as long as it holds.
//!
//! A permit ends by itself, and the gate may want to be asked again meanwhile: after the time that the permit says, and when
//! the users of the configuration changed who gave it. It is then asked beside the media, which go on until it answers. A
//! gate that cannot answer is asked [`TRIES`] times, then the permission is over, as it is when its time is up.

use std::{sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use wasmtx_hub::{Access, Action, CloseReason, Decision, Denial, Gate, PathName, Permit};

use crate::backoff::Backoff;

/// How often a gate that cannot answer is asked once more.
const TRIES: u32 = 3;

/// What a client asked, as it said it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) action: Action,
    pub(crate) path: String,
    pub(crate) query: String,
}

/// A permit in force.
pub(crate) struct Permission {
    question: Question,
    /// To be asked again; the client in it is known by now.
    access: Access,
    path: PathName,
    max_bitrate: Option<u64>,
    until: Option<Instant>,
    ask_at: Option<Instant>,
    /// For a permit of the configuration's users: when they gave it, by the count of their changes.
    rules: Option<u64>,
    /// The count at the last question.
    asked_under: u64,
    asking: Option<BoxFuture<'static, Decision>>,
    backoff: Backoff,
    failures: u32,
}

impl Permission {
    /// What `permit` answers to `access`. `rules` counts the changes of the configuration's users before the gate was asked.
    pub(crate) fn new(
        now: Instant,
        question: Question,
        access: Access,
        permit: &Permit,
        path: PathName,
        rules: u64,
    ) -> Permission {
        let mut permission = Permission {
            question,
            access,
            path,
            max_bitrate: None,
            until: None,
            ask_at: None,
            rules: None,
            asked_under: rules,
            asking: None,
            backoff: Backoff::default(),
            failures: 0,
        };
        permission.take(now, permit);
        permission
    }

    fn take(&mut self, now: Instant, permit: &Permit) {
        let after = |time: Option<_>| time.and_then(|time| now.checked_add(time));
        self.until = after(permit.lasts);
        self.ask_at = after(permit.recheck);
        self.max_bitrate = permit.max_bitrate;
        self.rules = permit.configured.then_some(self.asked_under);
        self.failures = 0;
        self.backoff.reset();
    }

    /// Whether the question has been answered, and nothing changed since.
    pub(crate) fn answers(&self, question: &Question, rules: u64) -> bool {
        self.question == *question && self.rules.is_none_or(|given| given == rules)
    }

    /// Where the permit leads.
    pub(crate) fn path(&self) -> &PathName {
        &self.path
    }

    /// Who has it.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Bits per second that a publisher may send.
    pub(crate) fn max_bitrate(&self) -> Option<u64> {
        self.max_bitrate
    }

    /// When it ends, if nothing changes.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// When [`Permission::handle_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ask_at = self.ask_at.filter(|_| self.asking.is_none());
        self.until.into_iter().chain(ask_at).min()
    }

    /// Asks the gate again where that is due, `rules` being the present count.
    ///
    /// # Errors
    /// The permission is over.
    pub(crate) fn handle_time(&mut self, now: Instant, rules: u64, gate: &Arc<dyn Gate>) -> Result<(), CloseReason> {
        if self.until.is_some_and(|until| now >= until) {
            return Err(CloseReason::Expired);
        }
        if self.rules.is_some_and(|given| given != rules) && self.asked_under != rules {
            self.ask_at = Some(now);
        }
        if self.asking.is_none() && self.ask_at.is_some_and(|at| now >= at) {
            let (gate, access) = (gate.clone(), self.access.clone());
            self.ask_at = None;
            self.asked_under = rules;
            self.asking = Some(Box::pin(async move { gate.check_again(&access).await }));
        }
        Ok(())
    }

    /// Waits for the gate's answer; for ever when it has not been asked. Cancel safe.
    pub(crate) async fn answer(&mut self) -> Decision {
        let Some(asking) = &mut self.asking else {
            return std::future::pending().await;
        };
        let decision = asking.await;
        self.asking = None;
        decision
    }

    /// Takes the answer. `random` is uniform in 0..1.
    ///
    /// # Errors
    /// The permission is over.
    pub(crate) fn handle_answer(&mut self, now: Instant, decision: &Decision, random: f64) -> Result<(), CloseReason> {
        match decision {
            Decision::Allow(permit) => {
                let path = permit.path.as_ref().or(self.access.path.as_ref());
                if path != Some(&self.path) {
                    // It may go on elsewhere, and must ask for that.
                    return Err(CloseReason::Expired);
                }
                self.take(now, permit);
                Ok(())
            }
            Decision::Deny(Denial::Later | Denial::TooMany) if self.failures < TRIES => {
                self.failures += 1;
                self.ask_at = now.checked_add(self.backoff.next(random));
                Ok(())
            }
            Decision::Deny(_) => Err(CloseReason::Expired),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use parking_lot::Mutex;
    use uuid::Uuid;
    use wasmtx_hub::{Client, Protocol};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers what stands next in the list, and not at all at its end.
    struct Script(Mutex<Vec<Decision>>);

    impl Gate for Script {
        fn check<'a>(&'a self, _access: &'a Access) -> BoxFuture<'a, Decision> {
            match self.0.lock().pop() {
                Some(decision) => Box::pin(std::future::ready(decision)),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    fn gate(mut answers: Vec<Decision>) -> Arc<dyn Gate> {
        answers.reverse();
        Arc::new(Script(Mutex::new(answers)))
    }

    fn permission(now: Instant, permit: &Permit) -> Permission {
        let path = PathName::new("cam1").unwrap();
        let client = Client {
            id: Uuid::from_u128(1),
            protocol: Protocol::Rtsp,
            address: Ipv4Addr::LOCALHOST.into(),
            agent: None,
            query: String::new(),
            identity: None,
            tags: Vec::new(),
            extra: Vec::new(),
        };
        let access = Access {
            action: Action::Read,
            path: Some(path.clone()),
            client: Arc::new(client),
            encrypted: false,
            proof: Arc::new(()),
        };
        let question = Question {
            action: Action::Read,
            path: "cam1".to_owned(),
            query: String::new(),
        };
        Permission::new(now, question, access, permit, path, 0)
    }

    fn rechecked() -> Permit {
        Permit {
            recheck: Some(SECOND),
            ..Permit::default()
        }
    }

    /// Lets a second pass, and the gate answer if it is asked.
    fn tick(permission: &mut Permission, now: &mut Instant, gate: &Arc<dyn Gate>) -> Result<(), CloseReason> {
        *now += SECOND;
        permission.handle_time(*now, 0, gate)?;
        let mut answer = Box::pin(permission.answer());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(decision) = answer.as_mut().poll(&mut cx) else {
            return Ok(());
        };
        drop(answer);
        permission.handle_answer(*now, &decision, 0.0)
    }

    #[test]
    fn a_permit_without_end_needs_nothing() {
        let permission = permission(Instant::now(), &Permit::default());
        assert_eq!(permission.deadline(), None);
    }

    #[test]
    fn a_permit_ends_with_its_time_even_while_the_gate_thinks() {
        let mut now = Instant::now();
        let permit = Permit {
            lasts: Some(3 * SECOND),
            ..rechecked()
        };
        let mut permission = permission(now, &permit);
        let silent = gate(Vec::new());
        assert_eq!(permission.deadline(), Some(now + SECOND));
        assert_eq!(tick(&mut permission, &mut now, &silent), Ok(()));
        assert_eq!(permission.deadline(), Some(now + 2 * SECOND), "it has been asked");
        assert_eq!(tick(&mut permission, &mut now, &silent), Ok(()));
        assert_eq!(tick(&mut permission, &mut now, &silent), Err(CloseReason::Expired));
    }

    #[test]
    fn the_gates_new_answer_replaces_the_old() {
        let mut now = Instant::now();
        let mut permission = permission(now, &rechecked());
        let later = Permit {
            lasts: Some(SECOND),
            max_bitrate: Some(5),
            ..Permit::default()
        };
        let gate = gate(vec![Decision::Allow(later)]);
        assert_eq!(tick(&mut permission, &mut now, &gate), Ok(()));
        assert_eq!(permission.max_bitrate(), Some(5));
        assert_eq!(tick(&mut permission, &mut now, &gate), Err(CloseReason::Expired));
    }

    #[test]
    fn who_is_denied_at_the_next_question_is_out() {
        for denial in [Denial::Credentials, Denial::NotAllowed, Denial::NotFound] {
            let mut now = Instant::now();
            let mut permission = permission(now, &rechecked());
            let gate = gate(vec![Decision::Deny(denial)]);
            assert_eq!(tick(&mut permission, &mut now, &gate), Err(CloseReason::Expired));
        }
    }

    #[test]
    fn who_is_sent_elsewhere_at_the_next_question_is_out() {
        let mut now = Instant::now();
        let mut permission = permission(now, &rechecked());
        let elsewhere = Permit {
            path: Some(PathName::new("cam2").unwrap()),
            ..Permit::default()
        };
        let gate = gate(vec![Decision::Allow(elsewhere)]);
        assert_eq!(tick(&mut permission, &mut now, &gate), Err(CloseReason::Expired));
    }

    #[test]
    fn a_gate_that_cannot_answer_is_asked_a_few_times() {
        let mut now = Instant::now();
        let mut permission = permission(now, &rechecked());
        let later = Decision::Deny(Denial::Later);
        let well = Decision::Allow(rechecked());
        let answers = [&later, &later, &later, &well, &later, &later, &later, &later];
        let gate = gate(answers.into_iter().cloned().collect());
        let mut seconds = 0;
        while tick(&mut permission, &mut now, &gate).is_ok() {
            seconds += 1;
        }
        // Pauses of one, two and four seconds, less a fifth, rounded up, twice, each after the second of the permit.
        assert_eq!(seconds, 1 + 1 + 2 + 4 + 1 + 1 + 2 + 4 - 1);
    }

    #[test]
    fn the_configurations_users_are_asked_once_when_they_changed_and_plugins_are_not() {
        let now = Instant::now();
        let silent = gate(Vec::new());
        for configured in [true, false] {
            let permit = Permit {
                configured,
                ..Permit::default()
            };
            let mut permission = permission(now, &permit);
            let question = Question {
                action: Action::Read,
                path: "cam1".to_owned(),
                query: String::new(),
            };
            assert!(permission.answers(&question, 0));
            assert_eq!(permission.answers(&question, 1), !configured);
            permission.handle_time(now, 0, &silent).unwrap();
            assert!(permission.asking.is_none());
            permission.handle_time(now, 1, &silent).unwrap();
            assert_eq!(permission.asking.is_some(), configured);
            if configured {
                permission.asking = None;
                permission.handle_answer(now, &Decision::Allow(permit), 0.0).unwrap();
                permission.handle_time(now, 1, &silent).unwrap();
                assert!(permission.asking.is_none(), "the answer is about the present users");
                permission.handle_time(now, 2, &silent).unwrap();
                assert!(permission.asking.is_some());
            }
        }
    }
}
