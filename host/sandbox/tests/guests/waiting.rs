//! Plugins that wait for a service outside: only who asked waits with them.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::JoinHandle;
use wasmtx_hub::{Access, Action, Decision, Denial, PathName};
use wasmtx_sandbox::{AuthChain, PluginSpec};

use crate::{outside::*, support::*};

fn asker() -> PluginSpec {
    asking(plugin(
        "auth-http",
        json!({ "url": "http://backend/check", "timeout": 60_000 }),
    ))
}

fn ask(chain: &Arc<AuthChain>, path: &str) -> JoinHandle<Option<Decision>> {
    let access = Access {
        action: Action::Read,
        path: Some(PathName::new(path).unwrap()),
        client: Arc::new(client("")),
        encrypted: false,
        proof: Arc::new(()),
    };
    let chain = chain.clone();
    tokio::spawn(async move { chain.check(&access).await })
}

fn is_allowed(decision: &Option<Decision>) -> bool {
    matches!(decision, Some(Decision::Allow(permit)) if permit.identity.as_deref() == Some("asked"))
}

#[tokio::test]
async fn the_backend_decides() {
    let (services, backend, _feed) = surroundings();
    let registry = registry_in(services, vec![asker()]);
    let chain = chains(&registry, &["auth-http"]).auth.unwrap();
    for (status, allowed) in [(200, true), (403, false), (500, false)] {
        let asking = ask(&chain, "cam1");
        let asked = backend.next().await;
        assert_eq!(asked.request.uri(), "http://backend/check");
        assert_eq!(asked.body(), json!({ "action": "read", "path": "cam1", "user": null }));
        asked.answer(status, "");
        assert_eq!(is_allowed(&asking.await.unwrap()), allowed);
    }
}

#[tokio::test]
async fn without_the_grant_nothing_is_sent() {
    let (services, backend, _feed) = surroundings();
    let mut spec = asker();
    spec.grants.http.clear();
    let registry = registry_in(services, vec![spec]);
    let chain = chains(&registry, &["auth-http"]).auth.unwrap();
    let denied = ask(&chain, "cam1").await.unwrap();
    assert_eq!(denied, Some(Decision::Deny(Denial::Later)));
    assert!(backend.take().is_empty());
}

#[tokio::test]
async fn a_slow_answer_delays_only_who_waits_for_it() {
    let (services, backend, _feed) = surroundings();
    let registry = registry_in(services, vec![asker()]);
    let chain = chains(&registry, &["auth-http"]).auth.unwrap();
    // More than may run at once, and the backend answers none of them.
    let slow: Vec<_> = (0..20).map(|_| ask(&chain, "slow")).collect();
    let mut unanswered = Vec::new();
    while unanswered.len() < slow.len() {
        unanswered.push(backend.next().await);
    }
    let quick: Vec<_> = (0..100).map(|_| ask(&chain, "quick")).collect();
    for _ in 0..quick.len() {
        let asked = backend.next().await;
        assert_eq!(asked.body()["path"], "quick");
        asked.answer(200, "");
    }
    for asking in quick {
        assert!(is_allowed(&asking.await.unwrap()));
    }
    assert!(slow.iter().all(|asking| !asking.is_finished()));
    for asked in unanswered {
        asked.answer(200, "");
    }
    for asking in slow {
        assert!(is_allowed(&asking.await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_waits_no_longer_than_the_limit_and_that_is_nobody_elses_failure() {
    let (services, backend, _feed) = surroundings();
    let mut spec = asker();
    spec.limits.auth_wall = Duration::from_secs(5);
    let registry = registry_in(services, vec![spec]);
    let chain = chains(&registry, &["auth-http"]).auth.unwrap();
    let begun = tokio::time::Instant::now();
    let slow: Vec<_> = (0..20).map(|_| ask(&chain, "slow")).collect();
    for asking in slow {
        assert_eq!(asking.await.unwrap(), Some(Decision::Deny(Denial::Later)));
    }
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(backend.take().len(), 20);
    assert_eq!(usage(&registry, "auth-http").deadlines, 20);
    // After so many failures of its own the plugin would rest.
    let asking = ask(&chain, "quick");
    backend.next().await.answer(200, "");
    assert!(is_allowed(&asking.await.unwrap()));
}

#[tokio::test]
async fn those_that_wait_for_questions_tick() {
    let (services, _backend, mut feed) = surroundings();
    let registry = registry_in(services, vec![plugin("tally", json!({ "tick": 1 }))]);
    let chain = chains(&registry, &["tally"]).auth.unwrap();
    assert!(ask(&chain, "cam1").await.unwrap().is_some());
    for ticks in 1..=3 {
        let said = format!(r#"{{"mark":0,"ticks":{ticks}}}"#);
        assert_eq!(noted(&mut feed).await, ("ticked".to_owned(), said));
    }
}
