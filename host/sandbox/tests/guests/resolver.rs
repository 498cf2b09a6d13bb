//! Resolvers: what they answer, what of it is believed, and that they fail for nobody but who asks.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use wasmtx_hub::{Answer, PathName, Resolver};
use wasmtx_sandbox::{PluginSpec, Resolvers};

use crate::{outside::*, support::*};

fn modes(config: Json) -> PluginSpec {
    plugin("resolver-modes", config)
}

async fn resolve(resolvers: &Arc<Resolvers>, path: &str) -> Answer {
    let (path, client) = (PathName::new(path).unwrap(), Arc::new(client("")));
    resolvers.resolve(&path, &client).await
}

fn url(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Source(found) => Some(&found.url),
        _ => None,
    }
}

#[tokio::test]
async fn each_answer_arrives() {
    let mut spec = modes(json!({ "to": "rtsp://there/$PATH" }));
    spec.grants.sources = Arc::from(["10.0.0.0/8".to_owned()]);
    let registry = registry(vec![spec]);
    let resolvers = chains(&registry, &["resolver-modes"]).resolver.unwrap();
    assert_eq!(resolve(&resolvers, "cam1").await, Answer::Nothing);
    let Answer::Source(found) = resolve(&resolvers, "live/source").await else {
        panic!("a source")
    };
    assert_eq!(
        (found.url.as_str(), &*found.hosts),
        ("rtsp://there/live/source", &["10.0.0.0/8".to_owned()][..])
    );
    let elsewhere = Answer::Redirect("rtsp://there/live/redirect".to_owned());
    assert_eq!(resolve(&resolvers, "live/redirect").await, elsewhere);
    assert!(url(&resolve(&resolvers, "live/slow").await).is_some());
    let usage = usage(&registry, "resolver-modes");
    assert_eq!((usage.calls, usage.passed), (4, 3));
}

#[tokio::test]
async fn answers_that_make_no_sense_are_failures_and_nothing_comes_of_them() {
    for path in ["garbage-source", "garbage-redirect", "circle", "huge-source"] {
        let registry = registry(vec![modes(json!({}))]);
        let resolvers = chains(&registry, &["resolver-modes"]).resolver.unwrap();
        assert_eq!(resolve(&resolvers, path).await, Answer::Nothing, "{path}");
        assert_eq!(usage(&registry, "resolver-modes").passed, 0, "{path}");
    }
}

#[tokio::test]
async fn a_resolver_that_fails_knows_nothing_and_the_next_is_asked() {
    let entry = |name: &str, config| PluginSpec {
        name: name.into(),
        ..modes(config)
    };
    for (mode, count) in [("trap", (1, 0, 0)), ("spin", (0, 1, 0)), ("grow", (0, 0, 1))] {
        let mut bad = entry("bad", json!({ "mode": mode }));
        if mode == "grow" {
            // Filling its memory takes a busy machine longer than an answer may.
            (bad.limits.resolve_running, bad.limits.resolve_wall) = (PATIENCE, PATIENCE);
        }
        let registry = registry(vec![
            bad,
            entry("good", json!({ "mode": "source", "to": "rtsp://there/$PATH" })),
        ]);
        let resolvers = chains(&registry, &["bad", "good"]).resolver.unwrap();
        assert_eq!(url(&resolve(&resolvers, "cam1").await), Some("rtsp://there/cam1"));
        let usage = usage(&registry, "bad");
        assert_eq!((usage.traps, usage.deadlines, usage.memory), count, "{mode}");
    }
}

#[tokio::test]
async fn one_that_waits_for_a_service_delays_only_its_asker() {
    let (services, backend, _feed) = surroundings();
    let spec = asking(modes(json!({ "mode": "ask", "to": "http://directory/$PATH" })));
    let registry = registry_in(services, vec![spec]);
    let resolvers = chains(&registry, &["resolver-modes"]).resolver.unwrap();
    let ask = |path: &'static str| {
        let resolvers = resolvers.clone();
        tokio::spawn(async move { resolve(&resolvers, path).await })
    };
    let slow = ask("slow-one");
    let unanswered = backend.next().await;
    let quick: Vec<_> = (0..50).map(|_| ask("quick")).collect();
    for _ in 0..quick.len() {
        let asked = backend.next().await;
        assert_eq!(asked.request.uri(), "http://directory/quick");
        asked.answer(200, "rtsp://there/quick");
    }
    for asking in quick {
        assert_eq!(url(&asking.await.unwrap()), Some("rtsp://there/quick"));
    }
    assert!(!slow.is_finished());
    unanswered.answer(404, "");
    assert_eq!(slow.await.unwrap(), Answer::Nothing);
}

#[tokio::test]
async fn a_plugin_that_is_switched_off_knows_nothing_and_that_is_no_failure() {
    let registry = registry(vec![modes(json!({ "mode": "source", "to": "rtsp://there/x" }))]);
    let resolvers = chains(&registry, &["resolver-modes"]).resolver.unwrap();
    registry.enable("resolver-modes", false).unwrap();
    assert_eq!(resolve(&resolvers, "cam1").await, Answer::Nothing);
    let usage = usage(&registry, "resolver-modes");
    assert_eq!((usage.calls, usage.other), (0, 0));
    registry.enable("resolver-modes", true).unwrap();
    assert!(url(&resolve(&resolvers, "cam1").await).is_some());
}
