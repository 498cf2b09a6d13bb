//! `wasmtx plugin push FILE NAME`: hands a component to a running server, which lets it take over between two frames or
//! keeps the old one and says why.

use std::{env, io::Write, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http::{Method, Request, Response, StatusCode, header};
use serde_json::Value as Json;
use url::Url;
use wasmtx_endpoints::outbound::{Allow, Client, Error, Limits};
use wasmtx_sandbox::inspect::Anatomy;

use super::{Subcommand, component};

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "push",
    describe,
    run,
};

/// Compiling may take half a minute, and others may be compiled first.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "WASMTX_PASSWORD";
const TOKEN: &str = "WASMTX_TOKEN";

fn describe(command: Command) -> Command {
    command
        .about("Hand a component to a running server as the new version of a plugin")
        .after_help(
            "Secrets may come from the environment instead: WASMTX_PASSWORD, WASMTX_TOKEN.\n\
             Exit code 0: the new version runs. 1: it does not, and the old one goes on.",
        )
        .arg(component::argument())
        .arg(
            Arg::new("plugin")
                .value_name("NAME")
                .required(true)
                .help("The plugin's name in the server's configuration"),
        )
        .arg(
            Arg::new("api")
                .long("api")
                .value_name("URL")
                .default_value("http://127.0.0.1:9997")
                .help("Where the server's API listens"),
        )
        .arg(Arg::new("user").long("user").value_name("USER").conflicts_with("token"))
        .arg(Arg::new("pass").long("pass").value_name("PASSWORD").requires("user"))
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("TOKEN")
                .help("A bearer token"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let component = component::read(matches)?;
    let anatomy = Anatomy::read(&component.bytes).map_err(|reason| component.refused(&reason))?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let name = text("plugin").unwrap_or_default();
    let api = Api::new(
        &text("api").unwrap_or_default(),
        text("user"),
        text("pass"),
        text("token"),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = runtime.block_on(api.version(&name))?;
    if before
        .as_deref()
        .is_some_and(|version| anatomy.sha256.starts_with(version))
    {
        writeln!(output, "{name}: version {} runs already", before.unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    runtime
        .block_on(api.push(&name, component.bytes))
        .map_err(|error| match &before {
            Some(version) => anyhow!("{name}: version {version} stays: {error:#}"),
            None => error,
        })?;
    let after = runtime.block_on(api.version(&name))?.unwrap_or_default();
    match before {
        Some(before) => writeln!(output, "{name}: version {after} took over from {before}")?,
        None => writeln!(output, "{name}: version {after} is loaded")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The API of a running server.
struct Api {
    base: Url,
    client: Client,
    authorization: Option<String>,
}

impl Api {
    fn new(base: &str, user: Option<String>, pass: Option<String>, token: Option<String>) -> anyhow::Result<Api> {
        let base = Url::parse(base).with_context(|| format!("--api {base:?} is no URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            bail!("--api {base} is no http:// or https:// URL");
        }
        let authorization = match user {
            Some(user) => {
                let pass = pass.or_else(|| env::var(PASSWORD).ok()).unwrap_or_default();
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{pass}"))))
            }
            None => token
                .or_else(|| env::var(TOKEN).ok())
                .map(|token| format!("Bearer {token}")),
        };
        let mut limits = Limits::default();
        limits.request_body = component::MAX_BYTES;
        Ok(Api {
            client: Client::new(Allow::operator(&base), limits),
            base,
            authorization,
        })
    }

    /// The version of a plugin that runs, if the server has it.
    async fn version(&self, name: &str) -> anyhow::Result<Option<String>> {
        let answer = self
            .send(Method::GET, &["v3", "plugins", "get", name], Vec::new())
            .await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let json = accepted(&answer)?;
        Ok(json.get("version").and_then(Json::as_str).map(str::to_owned))
    }

    async fn push(&self, name: &str, component: Vec<u8>) -> anyhow::Result<Json> {
        let answer = self
            .send(Method::POST, &["v3", "plugins", "push", name], component)
            .await?;
        if answer.status() == StatusCode::NOT_FOUND {
            bail!("the server has no plugin {name:?}: give it an entry below `plugins` in mediamtx.yml first");
        }
        accepted(&answer)
    }

    async fn send(&self, method: Method, way: &[&str], body: Vec<u8>) -> anyhow::Result<Response<Bytes>> {
        let mut url = self.base.clone();
        // A URL with a host, which was looked at, can have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(way);
        }
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/wasm");
        }
        let sent = self.client.send(request.body(body.into())?, PATIENCE).await;
        sent.map_err(|error| {
            let next = match &error {
                Error::Refused(_) | Error::Other(_) => {
                    "\nIs the server running, with `api: yes`, and is --api its apiAddress?"
                }
                Error::Tls(_) => "\nThe API's certificate must be one that this system trusts.",
                _ => "",
            };
            anyhow!("{}: {error}{next}", self.base)
        })
    }
}

/// What a good answer says, or the words of a bad one.
fn accepted(answer: &Response<Bytes>) -> anyhow::Result<Json> {
    let json: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
    let status = answer.status();
    if status.is_success() {
        return Ok(json);
    }
    let said = json.get("error").and_then(Json::as_str);
    match (status, said) {
        (StatusCode::UNAUTHORIZED, _) => {
            bail!("the API wants to know who you are: pass --user and --pass, or --token")
        }
        (StatusCode::FORBIDDEN, _) => bail!("the API does not let you do that: the permission `plugins` is missing"),
        (_, Some(said)) => bail!("{said}"),
        (status, None) => bail!("the API answers {status}"),
    }
}
