//! Who may publish, read or administrate: the hub's [`Gate`](hub::Gate), answered by the auth plugins of a path and the
//! users of the file, in the order of `authOrder`.
//!
//! Nothing is delayed on purpose. Guessing is made slow by a throttle: an address that failed too often is refused
//! before anything is hashed, which costs the guesser more than a pause would and holds no connection open.

mod hashing;
mod proven;
mod throttle;
mod users;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use wasmtx_hub::{self as hub, Access, Action, Decision, Denial, PathName, Permit};

use crate::config::{self, AuthFallback, AuthMethod, AuthStep, Config, Global};
use hashing::Hashing;
use proven::Proven;
use throttle::Throttle;
use users::Users;

/// A future of a trait object, as [`hub::Gate`] returns it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The auth plugins, as the gate asks them.
pub trait PluginAuth: Send + Sync {
    /// Whether an auth plugin stands on the path. If so, the open user `any` grants nothing there unless
    /// `authFallback: internal` is set, whatever the plugins answer.
    fn covers(&self, path: &PathName) -> bool;

    /// The answer of the path's plugins; `None` when none of them wants to decide. A plugin that fails is a denial.
    fn check<'a>(&'a self, access: &'a Access) -> Answer<'a, Option<Decision>>;
}

/// No plugins.
impl PluginAuth for () {
    fn covers(&self, _path: &PathName) -> bool {
        false
    }

    fn check<'a>(&'a self, _access: &'a Access) -> Answer<'a, Option<Decision>> {
        Box::pin(async { None })
    }
}

/// The gate.
pub struct Gate {
    plugins: Arc<dyn PluginAuth>,
    rules: ArcSwap<Rules>,
    hashing: Hashing,
    proven: Proven,
    throttle: Mutex<Throttle>,
    decisions: [AtomicU64; Outcome::ALL.len()],
}

/// What the configuration says about access.
struct Rules {
    method: AuthMethod,
    users: Users,
    order: Vec<AuthStep>,
    paths: config::Paths,
    /// Proxies speak for many clients: what one of them fails must not count against all.
    proxies: Vec<IpNet>,
    failures_per_minute: u32,
}

impl Rules {
    fn new(config: &Config) -> Rules {
        let Global {
            auth_method,
            auth_internal_users,
            auth_order,
            limits,
            ..
        } = &config.global;
        Rules {
            method: *auth_method,
            users: Users::new(auth_internal_users.clone()),
            order: auth_order.clone(),
            paths: config.paths.clone(),
            proxies: proxies(&config.global),
            failures_per_minute: limits.login_failures,
        }
    }

    /// Which steps decide about a path, and whether the open user counts when plugins stand on it.
    fn steps(&self, path: Option<&PathName>) -> (Vec<AuthStep>, AuthFallback) {
        match path.and_then(|path| self.paths.find(path.as_str())) {
            Some((entry, _)) => (entry.conf.auth_order.clone(), entry.conf.auth_fallback),
            None => (self.order.clone(), AuthFallback::None),
        }
    }
}

fn proxies(global: &Global) -> Vec<IpNet> {
    let all = [
        &global.api_trusted_proxies,
        &global.metrics_trusted_proxies,
        &global.playback_trusted_proxies,
        &global.pprof_trusted_proxies,
        &global.rtsp_trusted_proxies,
        &global.rtmp_trusted_proxies,
        &global.hls_trusted_proxies,
        &global.webrtc_trusted_proxies,
        &global.moq_trusted_proxies,
    ];
    all.into_iter().flatten().copied().collect()
}

/// Decisions by kind, for the metrics.
#[derive(Clone, Copy)]
enum Outcome {
    Allowed,
    /// Nothing was shown: the client is asked for credentials.
    Challenged,
    /// What was shown is wrong.
    Failed,
    NotAllowed,
    NotFound,
    TooMany,
    Later,
}

impl Outcome {
    const ALL: [Outcome; 7] = [
        Outcome::Allowed,
        Outcome::Challenged,
        Outcome::Failed,
        Outcome::NotAllowed,
        Outcome::NotFound,
        Outcome::TooMany,
        Outcome::Later,
    ];

    fn of(decision: &Decision, shown: bool) -> Outcome {
        match decision {
            Decision::Allow(_) => Outcome::Allowed,
            Decision::Deny(Denial::Credentials) if shown => Outcome::Failed,
            Decision::Deny(Denial::Credentials) => Outcome::Challenged,
            Decision::Deny(Denial::NotAllowed) => Outcome::NotAllowed,
            Decision::Deny(Denial::NotFound) => Outcome::NotFound,
            Decision::Deny(Denial::TooMany) => Outcome::TooMany,
            Decision::Deny(Denial::Later) => Outcome::Later,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Challenged => "challenged",
            Outcome::Failed => "failed",
            Outcome::NotAllowed => "not_allowed",
            Outcome::NotFound => "not_found",
            Outcome::TooMany => "too_many",
            Outcome::Later => "later",
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate with the rules of a configuration.
    pub fn new(config: &Config, plugins: Arc<dyn PluginAuth>) -> Gate {
        Gate {
            plugins,
            rules: ArcSwap::from_pointee(Rules::new(config)),
            hashing: Hashing::new(),
            proven: Proven::new(),
            throttle: Mutex::default(),
            decisions: Default::default(),
        }
    }

    /// Puts the rules of another configuration in force, from the next question on.
    pub fn configure(&self, config: &Config) {
        self.rules.store(Arc::new(Rules::new(config)));
    }

    /// How often the gate answered what, since the start: a word for the answer, and the number.
    pub fn decisions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.iter().map(|outcome| {
            (
                outcome.name(),
                self.decisions[*outcome as usize].load(Ordering::Relaxed),
            )
        })
    }

    async fn decide(&self, rules: &Rules, access: &Access) -> Decision {
        let (steps, fallback) = rules.steps(access.path.as_ref());
        let covered = access.path.as_ref().is_some_and(|path| self.plugins.covers(path));
        for step in steps {
            let decision = match step {
                AuthStep::Plugins if covered => self.plugins.check(access).await,
                AuthStep::Plugins => None,
                AuthStep::Method => {
                    let open = !covered || fallback == AuthFallback::Internal;
                    self.ask_method(rules, access, open).await
                }
            };
            if let Some(decision) = decision {
                return decision;
            }
        }
        Decision::Deny(Denial::Credentials)
    }

    /// Asks the configured method. `None` when it has nothing to say and a further step may.
    async fn ask_method(&self, rules: &Rules, access: &Access, open: bool) -> Option<Decision> {
        if rules.method != AuthMethod::Internal {
            // This version asks nobody else: closed rather than open.
            return Some(Decision::Deny(Denial::Later));
        }
        match rules.users.check(access, open, &self.hashing, &self.proven).await {
            users::Verdict::Allowed(identity) => Some(Decision::Allow(Permit {
                identity,
                configured: true,
                ..Permit::default()
            })),
            users::Verdict::Forbidden => Some(Decision::Deny(Denial::NotAllowed)),
            users::Verdict::Busy => Some(Decision::Deny(Denial::Later)),
            users::Verdict::Unknown => None,
        }
    }

    fn count(&self, decision: &Decision, shown: bool) {
        let outcome = Outcome::of(decision, shown);
        self.decisions[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn is_exempt(rules: &Rules, address: IpAddr) -> bool {
        address.is_loopback() || rules.proxies.iter().any(|net| net.contains(&address))
    }
}

impl hub::Gate for Gate {
    fn check<'a>(&'a self, access: &'a Access) -> Answer<'a, Decision> {
        Box::pin(async move {
            let rules = self.rules.load_full();
            let address = access.client.address.to_canonical();
            let user = access.proof.user();
            let shown = access.proof.is_some();
            let counts = shown && !Gate::is_exempt(&rules, address);
            let limit = rules.failures_per_minute;
            let decision = if counts && self.throttle.lock().is_blocked(Instant::now(), address, user, limit) {
                Decision::Deny(Denial::TooMany)
            } else {
                self.decide(&rules, access).await
            };
            self.count(&decision, shown);
            match &decision {
                Decision::Allow(Permit {
                    identity: Some(name), ..
                }) if counts && user == Some(name) => {
                    self.throttle.lock().succeed(address, name);
                }
                Decision::Deny(Denial::Credentials) if shown => {
                    let path = access.path.as_ref().map_or("", |path| path.as_str());
                    tracing::warn!(%address, path, action = word(access.action), "authentication failed");
                    if counts && self.throttle.lock().fail(Instant::now(), address, user, limit) {
                        tracing::warn!(%address, "too many failed logins, refused without a look for now");
                    }
                }
                _ => {}
            }
            decision
        })
    }

    fn check_again<'a>(&'a self, access: &'a Access) -> Answer<'a, Decision> {
        Box::pin(async move {
            let rules = self.rules.load_full();
            let decision = self.decide(&rules, access).await;
            self.count(&decision, access.proof.is_some());
            decision
        })
    }
}

/// An action as mediamtx.yml calls it.
fn word(action: Action) -> &'static str {
    permission(action).as_str()
}

fn permission(action: Action) -> config::Action {
    match action {
        Action::Publish => config::Action::Publish,
        Action::Read => config::Action::Read,
        Action::Playback => config::Action::Playback,
        Action::Api => config::Action::Api,
        Action::Metrics => config::Action::Metrics,
        Action::Profile => config::Action::Pprof,
        Action::Plugins => config::Action::Plugins,
    }
}

#[cfg(test)]
mod tests;
