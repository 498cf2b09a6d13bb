//! Auth plugins: asked off the media path, and closed when they do not answer.

use std::{sync::Arc, time::Duration};

use wasmtime::Store;
use wasmtx_hub::{Access, Decision, Denial, PathName, Permit};

use crate::{
    bindings::auth::{Deciding, auth as wit},
    convert,
    failure::Failure,
    fiber::{Pool, Question},
    host::{State, log::clean},
    metrics::count,
    policy::{AuthFailure, OnError},
    version::Version,
};

/// Bytes of an identity, and of a tag's name or value.
const TEXT_LEN: usize = 256;
const TAGS: usize = 16;

/// The auth plugins of a path, in order.
pub struct AuthChain {
    slots: Vec<AuthSlot>,
}

pub(crate) struct AuthSlot {
    pub(crate) pool: Arc<Pool<Deciding>>,
    pub(crate) on_error: Option<OnError>,
}

impl AuthChain {
    pub(crate) fn new(slots: Vec<AuthSlot>) -> AuthChain {
        AuthChain { slots }
    }

    /// The first answer other than "abstain"; `None` when all abstained, or failed with the policy to go on.
    ///
    /// A plugin that cannot answer denies with [`Denial::Later`]. Needs a tokio runtime; takes at most the plugins' wall
    /// limits together.
    pub async fn check(&self, access: &Access) -> Option<Decision> {
        for slot in &self.slots {
            match ask(&slot.pool, access).await {
                Ok(Some(decision)) => return Some(decision),
                Ok(None) => {}
                Err(_) if slot.policy() == AuthFailure::Next => {}
                Err(_) => return Some(Decision::Deny(Denial::Later)),
            }
        }
        None
    }
}

impl AuthSlot {
    fn policy(&self) -> AuthFailure {
        self.on_error
            .unwrap_or(self.pool.group.plugin.version.load().on_error)
            .auth
    }
}

/// Asks one instance. `Ok(None)` is "abstain"; errors are counted and logged here.
async fn ask(pool: &Arc<Pool<Deciding>>, access: &Access) -> Result<Option<Decision>, Failure> {
    let version = pool.group.plugin.version.load_full();
    let request = request(access, &version);
    let proof = access.proof.clone();
    let path = access.path.as_ref().map_or("", PathName::as_str);
    let question = Question {
        running: version.limits.auth_running,
        wall: version.limits.auth_wall,
        version,
        call: "check",
        path,
    };
    let answer = pool.ask(question, |exports: &Deciding, store: &mut Store<State>| {
        Box::pin(async move {
            store.data_mut().proof = Some(proof);
            let answer = exports.wasmtx_plugin_auth().call_check(&mut *store, &request).await;
            store.data_mut().proof = None;
            answer
        })
    });
    let decision = decision(answer.await?).inspect_err(|failure| pool.group.report(failure, path, "check"))?;
    let counts = &pool.group.place.counts;
    match decision {
        Some(Decision::Allow(_)) => count(&counts.passed),
        Some(Decision::Deny(_)) => count(&counts.dropped),
        None => {}
    }
    Ok(decision)
}

fn request(access: &Access, version: &Version) -> wit::Request {
    let grants = &version.grants;
    let secret = |text: Option<&str>| text.filter(|_| grants.credentials).map(str::to_owned);
    wit::Request {
        action: convert::action(access.action),
        path: access.path.as_ref().map(PathName::to_string).unwrap_or_default(),
        client: convert::client(&access.client, grants),
        encrypted: access.encrypted,
        user: access.proof.user().map(str::to_owned),
        password: secret(access.proof.password()),
        token: secret(access.proof.token()),
    }
}

/// The guest's answer in the hub's words. A permit that makes no sense is a failure: closed rather than half open.
fn decision(answer: wit::Decision) -> Result<Option<Decision>, Failure> {
    let permit = match answer {
        wit::Decision::Abstain => return Ok(None),
        wit::Decision::Deny(denial) => {
            return Ok(Some(Decision::Deny(match denial {
                wit::Denial::Credentials => Denial::Credentials,
                wit::Denial::NotAllowed => Denial::NotAllowed,
                wit::Denial::NotFound => Denial::NotFound,
                wit::Denial::TooMany => Denial::TooMany,
                wit::Denial::Later => Denial::Later,
            })));
        }
        wit::Decision::Allow(permit) => permit,
    };
    let path = permit.path.as_deref().map(PathName::new).transpose();
    let path = path.map_err(|error| Failure::other(format!("it sends the client to an {error}")))?;
    let text = |text: String| clean(&text, TEXT_LEN);
    Ok(Some(Decision::Allow(Permit {
        identity: permit.identity.map(text),
        lasts: permit.lasts.map(Duration::from_secs),
        // A question every second at most, whatever the guest says.
        recheck: permit.recheck.map(|seconds| Duration::from_secs(seconds.max(1))),
        path,
        max_bitrate: permit.max_bitrate,
        tags: permit
            .tags
            .into_iter()
            .take(TAGS)
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        configured: false,
    })))
}
