//! Plugins with the role `resolver`: asked where the stream of a path is, off the media path, while who wants to read waits.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wasmtime::Store;
use wasmtx_hub::{Answer, Client, Found, PathName, Resolver};

use crate::{
    bindings::resolver::{Resolving, resolver as wit},
    convert,
    failure::Failure,
    fiber::{Pool, Question},
    host::State,
    metrics::count,
};

/// Bytes of a URL, and of where a client is sent.
const TARGET_LEN: usize = 16 << 10;
const REDIRECT_LEN: usize = 2 << 10;

/// The resolvers of a path, in order: the first that knows something is believed, one that fails knows nothing.
pub struct Resolvers {
    pools: Arc<[Arc<Pool<Resolving>>]>,
}

impl Resolvers {
    pub(crate) fn new(pools: Vec<Arc<Pool<Resolving>>>) -> Resolvers {
        Resolvers { pools: pools.into() }
    }
}

impl Resolver for Resolvers {
    fn resolve(&self, path: &PathName, client: &Arc<Client>) -> BoxFuture<'static, Answer> {
        let (pools, path, client) = (self.pools.clone(), path.clone(), client.clone());
        Box::pin(async move {
            for pool in pools.iter() {
                // Failures are counted and logged where they happen.
                if let Ok(answer @ (Answer::Source(_) | Answer::Redirect(_))) = ask(pool, &path, &client).await {
                    return answer;
                }
            }
            Answer::Nothing
        })
    }
}

/// Asks one instance. Errors are counted and logged here.
async fn ask(pool: &Arc<Pool<Resolving>>, path: &PathName, client: &Client) -> Result<Answer, Failure> {
    let version = pool.group.plugin.version.load_full();
    let question = Question {
        running: version.limits.resolve_running,
        wall: version.limits.resolve_wall,
        version: version.clone(),
        call: "resolve",
        path: path.as_str(),
    };
    let (name, client) = (path.to_string(), convert::client(client, &version.grants));
    let answer = pool.ask(question, move |exports: &Resolving, store: &mut Store<State>| {
        Box::pin(async move {
            let resolver = exports.wasmtx_plugin_resolver();
            resolver.call_resolve(store, &name, &client).await
        })
    });
    let answer = understood(answer.await?, path, &version.grants.sources)
        .inspect_err(|failure| pool.group.report(failure, path.as_str(), "resolve"))?;
    if answer != Answer::Nothing {
        count(&pool.group.place.counts.passed);
    }
    Ok(answer)
}

/// The guest's answer in the hub's words.
fn understood(answer: wit::Answer, path: &PathName, hosts: &Arc<[String]>) -> Result<Answer, Failure> {
    let whole = |text: &str, len: usize| !text.is_empty() && text.len() <= len && !text.chars().any(char::is_control);
    match answer {
        wit::Answer::Nothing => Ok(Answer::Nothing),
        wit::Answer::Source(url) if whole(&url, TARGET_LEN) => Ok(Answer::Source(Arc::new(Found {
            url,
            hosts: hosts.clone(),
        }))),
        wit::Answer::Source(_) => Err(Failure::other("it names a source that is no URL")),
        wit::Answer::Redirect(target) if target == path.as_str() => {
            Err(Failure::other("it sends the client in a circle"))
        }
        wit::Answer::Redirect(target) => {
            let is_url = target.contains("://") && !target.contains(char::is_whitespace);
            if whole(&target, REDIRECT_LEN) && (is_url || PathName::new(&target).is_ok()) {
                Ok(Answer::Redirect(target))
            } else {
                Err(Failure::other("it sends the client nowhere"))
            }
        }
    }
}
