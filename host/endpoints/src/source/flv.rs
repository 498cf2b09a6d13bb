//! FLV in the body of an HTTP response, as a client.

use std::{convert::Infallible, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep_until, timeout, timeout_at};
use url::{Position, Url};
use wasmtx_protocol::flv::file::Reader;

use super::{
    Failure, Plan, START, Source, USER_AGENT,
    intake::Intake,
    target::{InvalidTarget, Target},
};

/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// Bytes of an answer's first line and headers, and what is read at once.
const BUFFER: usize = 64 << 10;
/// Headers of an answer.
const HEADERS: usize = 64;

/// Reads a stream and publishes it until something fails.
pub(super) async fn run(source: &mut Source, target: &Target) -> Result<Infallible, Failure> {
    let turn = source.puller.turn().await?;
    let started = timeout(START, request(&source.plan, target)).await;
    let mut answer = started.map_err(|_| Failure::NoAnswer)??;
    drop(turn);
    let (mut intake, mut reader, mut buffer) = (Intake::new(Instant::now()), Reader::default(), BytesMut::new());
    loop {
        let heard = Instant::now();
        let silence = heard + source.plan.read_timeout;
        let frame = loop {
            let early = intake.deadline(source).filter(|deadline| *deadline < silence);
            tokio::select! {
                frame = timeout_at(silence.into(), answer.body.frame()) => break frame,
                () = sleep_until(early.unwrap_or(silence).into()), if early.is_some() => {
                    intake.handle_timeout(Instant::now(), source, target)?;
                }
            }
        };
        let frame = frame.map_err(|_| Failure::Silence)?.ok_or(Failure::Closed)?;
        let Ok(data) = frame.map_err(|_| Failure::Closed)?.into_data() else {
            continue;
        };
        buffer.extend_from_slice(&data);
        while let Some(tag) = reader.next(&mut buffer)? {
            intake.handle_tag(Instant::now(), &tag, source, target)?;
        }
    }
}

/// The body of an answer, and the task that reads it from its connection.
struct Answer {
    body: Incoming,
    _connection: Task,
}

/// Ends with whoever waits for what it does.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for the stream, also where the server says that it is.
async fn request(plan: &Plan, target: &Target) -> Result<Answer, Failure> {
    let mut target = target.clone();
    for _ in 0..=REDIRECTS {
        let (response, connection) = ask(plan, &target).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Answer {
                body: response.into_body(),
                _connection: connection,
            });
        }
        if !status.is_redirection() {
            let words = status.canonical_reason().unwrap_or("an answer that is none");
            return Err(Failure::Refused(
                status.as_u16(),
                format!("the server answers {} {words}", status.as_u16()),
            ));
        }
        target = redirected(&target, response.headers().get(header::LOCATION))?;
    }
    Err(Failure::Http("the server redirects again and again".into()))
}

/// One request on a connection of its own.
async fn ask(plan: &Plan, target: &Target) -> Result<(Response<Incoming>, Task), Failure> {
    let host = target.host();
    let place = plan.place(target, &host);
    let connection = place.open(target.encrypted, plan.fingerprint).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(connection))
        .await
        .map_err(reason)?;
    let task = Task(tokio::spawn(async move {
        // What goes wrong is told to whoever reads the body.
        let _ = connection.await;
    }));
    let request = Request::get(&target.url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &target.url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    let request = match &target.credentials {
        Some((user, password)) => {
            let login = STANDARD.encode(format!("{user}:{}", password.expose()));
            request.header(header::AUTHORIZATION, format!("Basic {login}"))
        }
        None => request,
    };
    let request = request
        .body(Empty::new())
        .map_err(|error| InvalidTarget::Url(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(reason)?;
    Ok((response, task))
}

/// Where an answer leads. Credentials stay with the server that they are for; a host that a client chose is none that the
/// server may choose another for.
fn redirected(from: &Target, location: Option<&HeaderValue>) -> Result<Target, Failure> {
    let refused = |why: &str| Failure::Http(format!("the server redirects {why}"));
    let location = location.and_then(|location| location.to_str().ok());
    let url = location.and_then(|location| from.url.join(location).ok());
    let url: Url = url.ok_or_else(|| refused("to nowhere"))?;
    let encrypted = match url.scheme() {
        "https" => true,
        "http" if !from.encrypted => false,
        "http" => return Err(refused("from https to http")),
        _ => return Err(refused("to another protocol")),
    };
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err(refused("to a URL that is not followed"));
    }
    let same = url.origin() == from.url.origin();
    Ok(Target {
        credentials: from.credentials.clone().filter(|_| same),
        url,
        encrypted,
        ..from.clone()
    })
}

/// What hyper says, without what makes every message another one.
fn reason(error: hyper::Error) -> Failure {
    if error.is_timeout() || error.is_incomplete_message() || error.is_canceled() {
        return Failure::Closed;
    }
    Failure::Http(error.to_string())
}
