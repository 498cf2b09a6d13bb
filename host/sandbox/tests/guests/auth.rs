//! Auth plugins: who answers, what they see, and that nobody enters when they fail.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use wasmtx_hub::{Access, Action, Decision, Denial, PathName, Permit, Proof};
use wasmtx_sandbox::{AuthChain, AuthFailure, OnError, PluginSpec, Registry, Use};

use crate::support::*;

/// A client that showed a user name and a password.
#[derive(Debug)]
struct Shown(&'static str, &'static str);

impl Proof for Shown {
    fn is_some(&self) -> bool {
        true
    }
    fn user(&self) -> Option<&str> {
        Some(self.0)
    }
    fn matches(&self, user: &str, secret: &str) -> bool {
        (self.0, self.1) == (user, secret)
    }
    fn password(&self) -> Option<&str> {
        Some(self.1)
    }
    fn token(&self) -> Option<&str> {
        None
    }
}

fn access(user: &'static str, password: &'static str) -> Access {
    Access {
        action: Action::Publish,
        path: Some(PathName::new("cam1").unwrap()),
        client: Arc::new(client("view=1")),
        encrypted: false,
        proof: Arc::new(Shown(user, password)),
    }
}

fn modes(answer: &str) -> PluginSpec {
    plugin("auth-modes", json!({ "answer": answer }))
}

fn chain(registry: &Registry, names: &[&str]) -> Arc<AuthChain> {
    chains(registry, names).auth.unwrap()
}

/// What the plugin answers to a user name that tells it what to answer.
async fn told(chain: &AuthChain, answer: &'static str) -> Option<Decision> {
    chain.check(&access(answer, "password")).await
}

const LATER: Option<Decision> = Some(Decision::Deny(Denial::Later));

#[tokio::test]
async fn nobody_enters_through_a_plugin_that_is_switched_off() {
    let registry = registry(vec![modes("allow")]);
    let chain = chain(&registry, &["auth-modes"]);
    registry.enable("auth-modes", false).unwrap();
    assert_eq!(told(&chain, "allow").await, LATER);
    registry.enable("auth-modes", true).unwrap();
    assert!(matches!(told(&chain, "allow").await, Some(Decision::Allow(_))));
}

#[tokio::test]
async fn each_answer_arrives() {
    let registry = registry(vec![modes("abstain")]);
    let chain = chain(&registry, &["auth-modes"]);
    let deny = |denial| Some(Decision::Deny(denial));
    assert_eq!(told(&chain, "nobody").await, None);
    assert_eq!(told(&chain, "allow").await, Some(Decision::Allow(Permit::default())));
    assert_eq!(told(&chain, "deny-credentials").await, deny(Denial::Credentials));
    assert_eq!(told(&chain, "deny-not-allowed").await, deny(Denial::NotAllowed));
    assert_eq!(told(&chain, "deny-not-found").await, deny(Denial::NotFound));
    assert_eq!(told(&chain, "deny-too-many").await, deny(Denial::TooMany));
    let lasting = Permit {
        lasts: Some(Duration::from_secs(2)),
        ..Permit::default()
    };
    assert_eq!(told(&chain, "allow-for-a-while").await, Some(Decision::Allow(lasting)));
    let rechecked = Permit {
        recheck: Some(Duration::from_secs(2)),
        ..Permit::default()
    };
    assert_eq!(
        told(&chain, "allow-and-recheck").await,
        Some(Decision::Allow(rechecked))
    );
    let elsewhere = Permit {
        path: Some(PathName::new("elsewhere").unwrap()),
        ..Permit::default()
    };
    assert_eq!(told(&chain, "allow-elsewhere").await, Some(Decision::Allow(elsewhere)));
}

#[tokio::test]
async fn what_a_permit_says_is_clean() {
    let registry = registry(vec![modes("allow-as")]);
    let decision = told(&chain(&registry, &["auth-modes"]), "nobody").await;
    let Some(Decision::Allow(permit)) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(permit.identity.as_deref(), Some("Ada "));
    let texts = permit.tags.iter().flat_map(|(name, value)| [name, value]);
    assert!(texts.clone().count() == 4 && texts.clone().all(|text| !text.chars().any(char::is_control)));
}

#[tokio::test]
async fn a_permit_for_an_impossible_path_lets_nobody_in() {
    let registry = registry(vec![modes("allow-nowhere")]);
    assert_eq!(told(&chain(&registry, &["auth-modes"]), "nobody").await, LATER);
}

#[tokio::test]
async fn the_first_answer_counts_and_abstaining_asks_the_next() {
    let entry = |name: &str, answer| PluginSpec {
        name: name.into(),
        ..modes(answer)
    };
    let registry = registry(vec![
        entry("quiet", "abstain"),
        entry("open", "allow"),
        entry("shut", "deny-not-allowed"),
    ]);
    let allow = Some(Decision::Allow(Permit::default()));
    let deny = Some(Decision::Deny(Denial::NotAllowed));
    assert_eq!(
        told(&chain(&registry, &["quiet", "open", "shut"]), "nobody").await,
        allow
    );
    assert_eq!(
        told(&chain(&registry, &["quiet", "shut", "open"]), "nobody").await,
        deny
    );
    assert_eq!(told(&chain(&registry, &["quiet", "quiet"]), "nobody").await, None);
}

#[tokio::test]
async fn a_plugin_that_fails_lets_nobody_in_and_answers_the_next_one() {
    let registry = registry(vec![modes("abstain")]);
    let chain = chain(&registry, &["auth-modes"]);
    assert_eq!(told(&chain, "trap").await, LATER);
    assert_eq!(
        told(&chain, "allow").await,
        Some(Decision::Allow(Permit::default())),
        "one failure is forgiven"
    );
    let failures = usage(&registry, "auth-modes");
    assert_eq!((failures.traps, failures.passed), (1, 1));
}

#[tokio::test]
async fn a_plugin_that_spins_or_grows_is_ended_and_lets_nobody_in() {
    for (answer, kind) in [("spin", "deadline"), ("grow", "memory")] {
        let registry = registry(vec![modes(answer)]);
        assert_eq!(told(&chain(&registry, &["auth-modes"]), "nobody").await, LATER);
        let usage = usage(&registry, "auth-modes");
        assert_eq!(
            (usage.deadlines, usage.memory),
            if kind == "memory" { (0, 1) } else { (1, 0) }
        );
    }
}

#[tokio::test]
async fn other_tasks_run_while_a_plugin_spins() {
    // One thread for everything: were the guest not interrupted, nothing else would run until its end.
    let registry = registry(vec![modes("spin")]);
    let chain = chain(&registry, &["auth-modes"]);
    let asking = tokio::spawn(async move { told(&chain, "nobody").await });
    let mut turns = 0u32;
    while !asking.is_finished() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert_eq!(asking.await.unwrap(), LATER);
    assert!(turns > 5, "{turns}");
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_rests_and_still_lets_nobody_in() {
    let registry = registry(vec![modes("trap")]);
    let chain = chain(&registry, &["auth-modes"]);
    for _ in 0..20 {
        assert_eq!(told(&chain, "nobody").await, LATER);
    }
    let usage = usage(&registry, "auth-modes");
    assert!(usage.traps < 20 && usage.other > 0, "{usage:?}");
}

#[tokio::test]
async fn a_new_version_ends_the_rest_and_the_old_instances() {
    let registry = registry(vec![modes("trap")]);
    let chain = chain(&registry, &["auth-modes"]);
    for _ in 0..20 {
        assert_eq!(told(&chain, "nobody").await, LATER);
    }
    assert_eq!(told(&chain, "allow").await, LATER, "it rests");
    registry.apply(vec![modes("deny-not-found")]).unwrap();
    assert_eq!(told(&chain, "allow").await, Some(Decision::Allow(Permit::default())));
    registry.apply(vec![modes("allow")]).unwrap();
    assert_eq!(told(&chain, "nobody").await, Some(Decision::Allow(Permit::default())));
}

#[tokio::test]
async fn the_policy_next_asks_whoever_comes_next() {
    let registry = registry(vec![modes("trap")]);
    let next = OnError {
        auth: AuthFailure::Next,
        ..OnError::default()
    };
    let chain = registry
        .chains(&[Use {
            on_error: Some(next),
            ..used("auth-modes")
        }])
        .unwrap()
        .auth
        .unwrap();
    assert_eq!(told(&chain, "nobody").await, None);
}

#[tokio::test]
async fn questions_are_answered_side_by_side() {
    let registry = registry(vec![modes("abstain")]);
    let chain = chain(&registry, &["auth-modes"]);
    let asking: Vec<_> = (0..100)
        .map(|n| {
            let chain = chain.clone();
            tokio::spawn(async move { told(&chain, if n % 2 == 0 { "allow" } else { "deny-not-allowed" }).await })
        })
        .collect();
    for (n, asking) in asking.into_iter().enumerate() {
        let allowed = matches!(asking.await.unwrap(), Some(Decision::Allow(_)));
        assert_eq!(allowed, n % 2 == 0);
    }
}

#[tokio::test]
async fn a_plugin_can_compare_a_secret_that_it_does_not_see() {
    let registry = registry(vec![modes("as-proved")]);
    let chain = chain(&registry, &["auth-modes"]);
    assert_eq!(
        chain.check(&access("ada", "secret")).await,
        Some(Decision::Allow(Permit::default()))
    );
    assert_eq!(
        chain.check(&access("ada", "guess")).await,
        Some(Decision::Deny(Denial::Credentials))
    );
}

#[test]
fn an_auth_plugin_is_no_filter_and_a_filter_no_auth_plugin() {
    let registry = registry(vec![modes("allow"), plugin("pass", json!({}))]);
    let auth = chains(&registry, &["auth-modes"]);
    assert!(auth.filters.is_none() && auth.auth.is_some());
    let both = chains(&registry, &["auth-modes", "pass"]);
    assert!(both.filters.is_some() && both.auth.is_some());
}
