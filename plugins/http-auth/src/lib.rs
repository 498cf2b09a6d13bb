//! Asks a service by HTTP who may do what, in the words of MediaMTX's `authMethod: http`. See README.md.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request};
use wasmtx_plugin::http::{self, Response};
use wasmtx_plugin::{Action, Error, Pattern, Plugin, json, metrics};

/// A secret that could be guessed protects nothing.
const SHORTEST_SECRET: usize = 16;
const LARGEST: usize = 64 << 10;

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    url: String,
    /// Signs the questions.
    secret: Option<String>,
    /// Seconds for one question.
    timeout: f64,
    headers: BTreeMap<String, String>,
    /// What is not asked about, but left to others.
    exclude: Vec<Excluded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Excluded {
    action: Action,
    #[serde(default)]
    path: Pattern,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: None,
            timeout: 3.0,
            headers: BTreeMap::new(),
            exclude: Vec::new(),
        }
    }
}

/// What the service may say beside yes.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Answer {
    identity: Option<String>,
    /// Seconds.
    lasts: Option<u64>,
    /// Seconds.
    recheck: Option<u64>,
    path: Option<String>,
    /// Bits per second.
    max_bitrate: Option<u64>,
    tags: BTreeMap<String, String>,
}

struct HttpAuth {
    config: Config,
}

impl Plugin for HttpAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if !config.url.starts_with("https://") && !config.url.starts_with("http://") {
            return Err(Error::invalid("/url", "must be an http:// or https:// URL"));
        }
        if config
            .secret
            .as_ref()
            .is_some_and(|secret| secret.len() < SHORTEST_SECRET)
        {
            return Err(Error::invalid(
                "/secret",
                format!("a secret has at least {SHORTEST_SECRET} bytes"),
            ));
        }
        if !(0.1..=60.0).contains(&config.timeout) {
            return Err(Error::invalid("/timeout", "must be 0.1 to 60 seconds"));
        }
        Ok(Self { config })
    }
}

impl Auth for HttpAuth {
    fn check(&mut self, request: Request) -> Decision {
        let left_out = |excluded: &Excluded| excluded.action == request.action && excluded.path.matches(&request.path);
        if self.config.exclude.iter().any(left_out) {
            return Decision::Abstain;
        }
        match self.ask(&request).send() {
            Ok(response) => judge(&response),
            Err(error) => {
                metrics::counter("unanswered", 1);
                wasmtx_plugin::warn!("{} does not answer: {}", self.config.url, error.name());
                Denial::Later.into()
            }
        }
    }
}

impl HttpAuth {
    /// The question, by the names that MediaMTX gives its parts.
    fn ask(&self, request: &Request) -> http::Request {
        let client = &request.client;
        let action = match request.action {
            Action::Profile => "pprof",
            action => action.name(),
        };
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let mut question = http::Request::post(&self.config.url);
        for (name, value) in &self.config.headers {
            question = question.header(name, value);
        }
        question = question.timeout(Duration::from_secs_f64(self.config.timeout)).json(&json!({
            "ip": client.address, "user": text(&request.user), "password": text(&request.password), "token": text(&request.token),
            "action": action, "path": request.path, "protocol": client.protocol.name(), "id": client.session,
            "query": client.query.trim_start_matches('?'), "userAgent": text(&client.agent),
        }));
        match &self.config.secret {
            Some(secret) => question.signed(secret.as_bytes()),
            None => question,
        }
    }
}

fn judge(response: &Response) -> Decision {
    match response.status {
        200..=299 => match permit(&response.body) {
            Ok(permit) => permit.into(),
            Err(reason) => {
                // Something was to be restricted, and it is not known what.
                wasmtx_plugin::warn!("the service says yes, but {reason}");
                Denial::Later.into()
            }
        },
        401 => Denial::Credentials.into(),
        404 => Denial::NotFound.into(),
        429 => Denial::TooMany.into(),
        400..=499 => Denial::NotAllowed.into(),
        status => {
            metrics::counter("unanswered", 1);
            wasmtx_plugin::warn!("the service answers {status}");
            Denial::Later.into()
        }
    }
}

/// A body that is no map of JSON says nothing: many services write a word there.
fn permit(body: &[u8]) -> Result<Permit, String> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Ok(Permit::default());
    }
    if body.len() > LARGEST {
        return Err("in more than 64 KiB".into());
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("not in words that are known: {error}"))?;
    Ok(Permit {
        identity: answer.identity,
        lasts: answer.lasts,
        recheck: answer.recheck,
        path: answer.path,
        max_bitrate: answer.max_bitrate,
        tags: answer.tags.into_iter().collect(),
    })
}

wasmtx_plugin::export!(HttpAuth: auth);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use wasmtx_plugin::testing::{answer_http, configure, request, take_log, take_requests};

    fn plugin(more: Value) -> HttpAuth {
        let mut config = json!({ "url": "https://users.example.com/check" });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        configure(&config.to_string()).unwrap()
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: impl Into<Decision>) {
        let body = body.as_bytes().to_vec();
        answer_http(move |_| {
            Ok(Response {
                body: body.clone(),
                ..Response::new(status)
            })
        });
        assert_eq!(
            plugin(json!({})).check(request(Action::Read, "cam1")),
            expected.into(),
            "{status}"
        );
    }

    #[test]
    fn the_question_has_the_names_that_mediamtx_gives_its_parts() {
        answer_http(|_| Ok(Response::new(200)));
        let mut asked = request(Action::Profile, "cam1");
        asked.user = Some("ada".into());
        asked.password = Some("engine".into());
        asked.client.query = "?view=2".into();
        asked.client.agent = Some("player 1.0".into());
        plugin(json!({ "headers": { "x-key": "7" }, "timeout": 1.5 })).check(asked);
        let question = take_requests().remove(0);
        assert_eq!(
            (question.method.as_str(), question.timeout),
            ("POST", Some(Duration::from_millis(1_500)))
        );
        assert!(question.headers.contains(&("x-key".into(), "7".into())));
        let body: Value = serde_json::from_slice(&question.body).unwrap();
        let expected = json!({
            "ip": "192.0.2.7", "user": "ada", "password": "engine", "token": "", "action": "pprof", "path": "cam1", "protocol": "rtsp",
            "id": "6f9619ff", "query": "view=2", "userAgent": "player 1.0",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_question_is_signed_when_there_is_a_secret() {
        answer_http(|_| Ok(Response::new(200)));
        let secret = "a secret that only this test knows";
        plugin(json!({ "secret": secret })).check(request(Action::Read, "cam1"));
        let question = take_requests().remove(0);
        let expected = http::Request::post("")
            .body(question.body.clone())
            .signed(secret.as_bytes());
        assert!(question.headers.ends_with(&expected.headers), "{:?}", question.headers);
        plugin(json!({})).check(request(Action::Read, "cam1"));
        assert_eq!(take_requests()[0].headers.len(), 1);
    }

    #[test]
    fn the_status_decides() {
        check(200, "", Decision::allow());
        check(204, "", Decision::allow());
        check(200, "OK", Decision::allow());
        check(200, "[1]", Decision::allow());
        check(401, "", Denial::Credentials);
        check(403, "{}", Denial::NotAllowed);
        check(400, "", Denial::NotAllowed);
        check(404, "", Denial::NotFound);
        check(429, "", Denial::TooMany);
        for status in [100, 302, 500, 503, 999] {
            check(status, "", Denial::Later);
        }
    }

    #[test]
    fn a_body_says_under_which_conditions() {
        let permit = Permit::default()
            .identity("ada")
            .lasts(Duration::from_secs(60))
            .path("lobby/1")
            .max_bitrate(4_000_000);
        check(
            200,
            r#" {"identity":"ada","lasts":60,"path":"lobby/1","maxBitrate":4000000,"unknown":[]}"#,
            permit,
        );
        let permit = Permit::default().recheck(Duration::from_secs(5)).tag("room", "7");
        check(201, r#"{"recheck":5,"tags":{"room":"7"}}"#, permit);
        check(200, "{}", Decision::allow());
    }

    #[test]
    fn conditions_that_cannot_be_read_let_nobody_in() {
        for body in [
            r#"{"lasts":-1}"#,
            r#"{"lasts":"60"}"#,
            r#"{"path":7}"#,
            "{",
            r#"{"identity":"ada""#,
        ] {
            check(200, body, Denial::Later);
        }
        check(200, &format!("{{}}{}", " ".repeat(LARGEST)), Denial::Later);
        assert_eq!(take_log().len(), 6);
    }

    #[test]
    fn nobody_comes_in_while_the_service_is_silent() {
        for error in [
            http::Error::Timeout,
            http::Error::Refused,
            http::Error::NotGranted,
            http::Error::Tls,
        ] {
            answer_http(move |_| Err(error));
            assert_eq!(
                plugin(json!({})).check(request(Action::Read, "cam1")),
                Denial::Later.into()
            );
        }
    }

    #[test]
    fn what_is_left_out_is_left_to_others() {
        answer_http(|_| Ok(Response::new(200)));
        let mut plugin =
            plugin(json!({ "exclude": [{ "action": "read", "path": "~^public/" }, { "action": "metrics" }] }));
        assert_eq!(plugin.check(request(Action::Read, "public/1")), Decision::Abstain);
        assert_eq!(plugin.check(request(Action::Metrics, "")), Decision::Abstain);
        assert!(take_requests().is_empty());
        assert_eq!(plugin.check(request(Action::Publish, "public/1")), Decision::allow());
        assert_eq!(plugin.check(request(Action::Read, "cam1")), Decision::allow());
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
        for (config, pointer) in [
            (json!({}), "/url"),
            (json!({ "url": "users.example.com" }), "/url"),
            (json!({ "url": "https://a.example", "secret": "short" }), "/secret"),
            (json!({ "url": "https://a.example", "timeout": 0 }), "/timeout"),
            (json!({ "url": "https://a.example", "exclude": [{}] }), "/exclude/0"),
            (
                json!({ "url": "https://a.example", "exclude": [{ "action": "read", "path": "~(" }] }),
                "/exclude/0/path",
            ),
            (json!({ "url": "https://a.example", "fingerprint": "" }), "/fingerprint"),
        ] {
            match configure::<HttpAuth>(&config.to_string()) {
                Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
                other => panic!("{config} was judged {:?}", other.err()),
            }
        }
    }
}
