//! Requests put to an auth plugin, as the server puts them.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;
use wasmtx_hub::{Access, Action, Client, Decision, Denial, PathName, Permit, Proof, Protocol};
use wasmtx_sandbox::{AuthChain, Registry};

use super::verdict::failures;
use crate::plugin_cli::shown;

/// Who wants what. The keys are those of MediaMTX's HTTP authentication, and some more.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    action: Option<Wanted>,
    path: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    query: String,
    ip: Option<IpAddr>,
    protocol: Option<Spoken>,
    agent: Option<String>,
    encrypted: bool,
    id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Publish,
    Read,
    Playback,
    Api,
    Metrics,
    Pprof,
    Plugins,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spoken {
    Rtsp,
    Rtmp,
    Srt,
    Hls,
    WebRtc,
    Flv,
    Moq,
    Api,
}

/// What the client of a request shows.
#[derive(Debug)]
struct Shown {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Proof for Shown {
    fn is_some(&self) -> bool {
        self.user.is_some() || self.password.is_some() || self.token.is_some()
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn matches(&self, user: &str, secret: &str) -> bool {
        self.user.as_deref() == Some(user) && self.password.as_deref() == Some(secret)
    }

    fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// Asks everything, prints the answers, and answers whether the plugin failed.
pub(super) fn run(
    registry: &Registry,
    chain: &AuthChain,
    path: &PathName,
    requests: &[&String],
    matches: &ArgMatches,
    output: &mut dyn Write,
) -> anyhow::Result<bool> {
    let mut asked = Vec::new();
    for text in requests {
        asked.extend(access(text, path)?);
    }
    let verdicts = matches.get_one::<PathBuf>("verdicts").map(|file| {
        let created = File::create(file).with_context(|| format!("{} cannot be written", file.display()));
        created.map(BufWriter::new)
    });
    let mut verdicts = verdicts.transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let failed = || {
        let uses = registry.status().into_iter().flat_map(|status| status.uses);
        uses.map(|usage| failures(&usage)).sum::<u64>()
    };
    for access in asked {
        let before = failed();
        let begun = Instant::now();
        let decision = runtime.block_on(chain.check(&access));
        let took = begun.elapsed();
        let has_failed = failed() > before;
        let answer = if has_failed {
            "failed".to_owned()
        } else {
            words(decision.as_ref())
        };
        writeln!(
            output,
            "{} on {:?}: {answer} ({})",
            name(access.action),
            wanted_path(&access),
            shown::time(took)
        )?;
        if let Some(verdicts) = &mut verdicts {
            writeln!(verdicts, "{}", line(&access, decision.as_ref(), has_failed, took))?;
        }
    }
    if let Some(verdicts) = &mut verdicts {
        verdicts.flush()?;
    }
    Ok(failed() > 0)
}

/// The questions that a `--request` asks, on `path` unless it names another.
pub(in crate::plugin_cli) fn access(text: &str, path: &PathName) -> anyhow::Result<Vec<Access>> {
    parse(text)?.into_iter().map(|request| request.access(path)).collect()
}

/// One request or a list of them, as JSON or in a file.
fn parse(text: &str) -> anyhow::Result<Vec<Request>> {
    let (text, origin) = if text.trim_start().starts_with(['{', '[']) {
        (text.to_owned(), "--request")
    } else {
        (
            fs::read_to_string(text)
                .with_context(|| format!("--request {text}: it is no JSON, and no file that could be read"))?,
            text,
        )
    };
    let json: Json = serde_json::from_str(&text).with_context(|| format!("{origin}: it is not JSON"))?;
    let list = match json {
        Json::Array(list) => list,
        one => vec![one],
    };
    let read = |request| serde_json::from_value(request).with_context(|| origin.to_owned());
    list.into_iter().map(read).collect()
}

impl Request {
    fn access(self, path: &PathName) -> anyhow::Result<Access> {
        let path = match &self.path {
            Some(named) => PathName::new(named).map_err(|error| anyhow!("path {named:?}: {error}"))?,
            None => path.clone(),
        };
        let client = Client {
            id: self.id.unwrap_or_else(Uuid::new_v4),
            protocol: match self.protocol {
                None | Some(Spoken::Rtsp) => Protocol::Rtsp,
                Some(Spoken::Rtmp) => Protocol::Rtmp,
                Some(Spoken::Srt) => Protocol::Srt,
                Some(Spoken::Hls) => Protocol::Hls,
                Some(Spoken::WebRtc) => Protocol::WebRtc,
                Some(Spoken::Flv) => Protocol::Flv,
                Some(Spoken::Moq) => Protocol::Moq,
                Some(Spoken::Api) => Protocol::Api,
            },
            address: self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            agent: self.agent,
            query: self.query,
            identity: None,
            tags: Vec::new(),
            extra: Vec::new(),
        };
        let (action, has_path) = match self.action {
            Some(Wanted::Publish) => (Action::Publish, true),
            None | Some(Wanted::Read) => (Action::Read, true),
            Some(Wanted::Playback) => (Action::Playback, true),
            Some(Wanted::Api) => (Action::Api, false),
            Some(Wanted::Metrics) => (Action::Metrics, false),
            Some(Wanted::Pprof) => (Action::Profile, false),
            Some(Wanted::Plugins) => (Action::Plugins, false),
        };
        Ok(Access {
            action,
            path: has_path.then_some(path),
            client: Arc::new(client),
            encrypted: self.encrypted,
            proof: Arc::new(Shown {
                user: self.user,
                password: self.password,
                token: self.token,
            }),
        })
    }
}

fn wanted_path(access: &Access) -> &str {
    access.path.as_ref().map_or("", PathName::as_str)
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Publish => "publish",
        Action::Read => "read",
        Action::Playback => "playback",
        Action::Api => "api",
        Action::Metrics => "metrics",
        Action::Profile => "pprof",
        Action::Plugins => "plugins",
    }
}

fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::Credentials => "credentials",
        Denial::NotAllowed => "not-allowed",
        Denial::NotFound => "not-found",
        Denial::TooMany => "too-many",
        Denial::Later => "later",
    }
}

fn words(decision: Option<&Decision>) -> String {
    match decision {
        None => "abstain".to_owned(),
        Some(Decision::Deny(denial)) => format!("deny, {}", denied(*denial)),
        Some(Decision::Allow(permit)) => {
            let mut said = "allow".to_owned();
            if let Json::Object(fields) = permitted(permit) {
                for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                    said.push_str(&format!(", {key} {value}"));
                }
            }
            said
        }
    }
}

fn permitted(permit: &Permit) -> Json {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let mut json = json!({
        "identity": permit.identity,
        "lasts": seconds(permit.lasts),
        "recheck": seconds(permit.recheck),
        "path": permit.path.as_ref().map(PathName::as_str),
        "maxBitrate": permit.max_bitrate,
    });
    if !permit.tags.is_empty() {
        json["tags"] = json!(permit.tags);
    }
    json
}

fn line(access: &Access, decision: Option<&Decision>, failed: bool, took: Duration) -> Json {
    let (word, detail) = match decision {
        _ if failed => ("failed", Json::Null),
        None => ("abstain", Json::Null),
        Some(Decision::Deny(denial)) => ("deny", json!(denied(*denial))),
        Some(Decision::Allow(permit)) => ("allow", permitted(permit)),
    };
    json!({
        "action": name(access.action),
        "path": wanted_path(access),
        "verdict": word,
        "detail": detail,
        "nanos": u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_or_a_list_and_says_what_it_does_not_know() {
        assert_eq!(parse(r#"{"action": "publish"}"#).unwrap().len(), 1);
        assert_eq!(parse(r#"[{}, {"ip": "::1", "protocol": "webrtc"}]"#).unwrap().len(), 2);
        for wrong in [r#"{"acton": "read"}"#, r#"{"action": "fly"}"#, "{", "no such file"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_request_leaves_out_is_a_reader_from_here() {
        let path = PathName::new("clip").unwrap();
        let access = Request::default().access(&path).unwrap();
        assert_eq!((access.action, access.path), (Action::Read, Some(path)));
        assert!(!access.proof.is_some() && access.client.address.is_loopback());
    }
}
