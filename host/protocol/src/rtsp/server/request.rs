//! What each request does to a connection: answered at once, or turned into a question for the driver.

use super::event::{Ask, Event, Offer, Output, Setup, State};
use super::session::{Announced, Target};
use super::{Connection, Open};
use crate::rtsp::auth::Checked;
use crate::rtsp::headers::{self, Range};
use crate::rtsp::transport::{Lower, Mode, Profile, Transport};
use crate::rtsp::{Error, Headers, Method, Request, Response, Status, Url, sdp};

/// The methods that a client may use here.
const PUBLIC: &str = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// Ports below this one belong to services, who would be surprised by RTP.
const LOWEST_CLIENT_PORT: u16 = 1_024;

/// What the driver was asked, with what the answer needs. A `stream` is its path, decoded, and its query.
#[derive(Debug)]
pub(super) enum Question {
    Describe {
        stream: (String, String),
    },
    Announce {
        stream: (String, String),
        announced: Announced,
    },
    Setup {
        stream: (String, String),
        media: usize,
        transports: Vec<Transport>,
    },
    Play,
    Record,
}

/// Why a request is answered without asking anybody.
enum Refusal {
    /// With this status; the connection goes on.
    Status(Status),
    /// With 401 and a fresh nonce.
    Challenge { stale: bool },
    /// As malformed; the connection is closed.
    Malformed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Malformed(error)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

/// What becomes of a request.
#[expect(clippy::large_enum_variant, reason = "taken apart right where it is returned")]
enum Outcome {
    Answer(Response),
    Ask(Question, Event),
}

impl Connection {
    pub(super) fn handle_request(&mut self, request: Request) {
        let sequence = request.headers.get("cseq").and_then(|value| value.parse().ok());
        let Some(sequence) = sequence else {
            return self.fail(None, Error::CSeq);
        };
        match self.decide(&request) {
            Ok(Outcome::Answer(response)) => self.respond(Some(sequence), response),
            Ok(Outcome::Ask(question, event)) => {
                self.open = Some(Open {
                    question,
                    sequence,
                    url: request.url,
                });
                self.output.push_back(Output::Event(event));
            }
            Err(Refusal::Status(status)) => self.respond(Some(sequence), Response::new(status)),
            Err(Refusal::Challenge { stale }) => self.respond_challenge(sequence, stale),
            Err(Refusal::Malformed(error)) => self.fail(Some(sequence), error),
        }
    }

    pub(super) fn respond_challenge(&mut self, sequence: u32, stale: bool) {
        let mut response = Response::new(Status::UNAUTHORIZED);
        self.checker.challenge(self.now, stale, &mut response.headers);
        self.respond(Some(sequence), response);
    }

    fn decide(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        // RFC 2326 section 12.32: ONVIF clients ask for replay or a back channel this way and go on without.
        if let Some(feature) = request.headers.get("require") {
            let headers = Headers::new().with("Unsupported", feature);
            return Ok(Outcome::Answer(Response {
                headers,
                ..Response::new(Status::OPTION_NOT_SUPPORTED)
            }));
        }
        self.check_session_header(request)?;
        let plain = |headers| {
            Ok(Outcome::Answer(Response {
                headers,
                ..Response::new(Status::OK)
            }))
        };
        match &request.method {
            Method::Options => plain(Headers::new().with("Public", PUBLIC)),
            Method::Describe => self.decide_describe(request),
            Method::Announce => self.decide_announce(request),
            Method::Setup => self.decide_setup(request),
            Method::Play => self.decide_play(request),
            Method::Record => self.decide_record(request),
            Method::Pause => self.decide_pause(request),
            Method::Teardown => self.decide_teardown(request),
            // Used as a sign of life; live555 and VLC send a parameter's name along and want no complaint.
            Method::GetParameter => plain(Headers::new()),
            Method::SetParameter if request.body.is_empty() => plain(Headers::new()),
            Method::SetParameter => Err(Status::PARAMETER_NOT_UNDERSTOOD.into()),
            Method::Redirect | Method::Other(_) => {
                let known = request.method == Method::Redirect;
                let status = if known {
                    Status::METHOD_NOT_ALLOWED
                } else {
                    Status::NOT_IMPLEMENTED
                };
                Ok(Outcome::Answer(Response {
                    headers: Headers::new().with("Allow", PUBLIC),
                    ..Response::new(status)
                }))
            }
        }
    }

    /// A request may leave the session out (there is only one per connection), but not name another one.
    fn check_session_header(&self, request: &Request) -> Result<(), Refusal> {
        let Some(value) = request.headers.get("session") else {
            return Ok(());
        };
        let named = headers::Session::parse(value).map_err(|_| Status::SESSION_NOT_FOUND)?;
        match &self.session {
            Some(session) if session.id == named.id => Ok(()),
            _ => Err(Status::SESSION_NOT_FOUND.into()),
        }
    }

    fn ask(&mut self, request: &Request, url: &Url) -> Result<Ask, Refusal> {
        let credentials = match self.checker.check(self.now, request)? {
            Checked::Absent => None,
            Checked::Present(credentials) => Some(credentials),
            Checked::Again { stale } => return Err(Refusal::Challenge { stale }),
        };
        Ok(Ask {
            path: url.decoded_path()?,
            query: url.bare_query().to_owned(),
            credentials,
            user_agent: request.headers.get("user-agent").map(str::to_owned),
        })
    }

    fn decide_describe(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if self.session.as_ref().is_some_and(|session| session.is_publisher()) {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        let ask = self.ask(request, &Url::parse(&request.url)?)?;
        Ok(Outcome::Ask(
            Question::Describe { stream: ask.stream() },
            Event::Describe(ask),
        ))
    }

    fn decide_announce(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if self.session.is_some() {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        let content_type = request.headers.get("content-type").unwrap_or_default();
        if !content_type
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("application/sdp")
        {
            return Err(Status::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let url = Url::parse(&request.url)?;
        let ask = self.ask(request, &url)?;
        let description = sdp::Session::parse(&request.body)?;
        if description.medias.is_empty() {
            return Err(Error::Sdp.into());
        }
        let question = Question::Announce {
            stream: ask.stream(),
            announced: Announced::new(&url, &description),
        };
        Ok(Outcome::Ask(question, Event::Announce(ask, description)))
    }

    fn decide_setup(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if matches!(self.state(), State::Playing | State::Recording) {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        let mut url = Url::parse(&request.url)?;
        let publish = self.session.as_ref().is_some_and(|session| session.is_publisher());
        let media = if publish {
            self.announced_media(&url)?
        } else {
            self.described_media(&mut url)?
        };
        if self.lane(media).is_some() {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        let mut transports = Vec::new();
        for value in request.headers.get_all("transport") {
            transports.extend(Transport::parse_list(value)?);
        }
        if !publish && transports.iter().any(|transport| transport.mode == Some(Mode::Record)) {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        transports.retain(|transport| {
            offer(transport, publish).is_some() && self.session.as_ref().is_none_or(|session| session.fits(transport))
        });
        let offers: Vec<Offer> = transports
            .iter()
            .filter_map(|transport| offer(transport, publish))
            .collect();
        if offers.is_empty() {
            return Err(Status::UNSUPPORTED_TRANSPORT.into());
        }
        let mut ask = self.ask(request, &url)?;
        if publish && let Some(session) = &self.session {
            // What an announced media's URL looks like is the client's affair.
            (ask.path, ask.query) = (session.path.clone(), session.query.clone());
        }
        if !publish
            && ask.query.is_empty()
            && let Some((path, query)) = &self.described
            && *path == ask.path
        {
            // GStreamer resolves a control as RFC 3986 says, by which the query is lost.
            ask.query.clone_from(query);
        }
        let first = self.session.as_ref().is_none_or(|session| session.streams.is_empty());
        let question = Question::Setup {
            stream: ask.stream(),
            media,
            transports,
        };
        Ok(Outcome::Ask(
            question,
            Event::Setup(
                ask,
                Setup {
                    media,
                    publish,
                    first,
                    offers,
                },
            ),
        ))
    }

    fn announced_media(&self, url: &Url) -> Result<usize, Refusal> {
        let session = self.session.as_ref().ok_or(Status::NOT_FOUND)?;
        match session.target(url) {
            Target::Media(media) => Ok(media),
            Target::Aggregate => session
                .next_nameless()
                .ok_or(Status::AGGREGATE_OPERATION_NOT_ALLOWED.into()),
            Target::Foreign => Err(Status::NOT_FOUND.into()),
        }
    }

    /// Takes the control off the URL. Without one, as VLC sends it for streams of one media, it is the first media that
    /// was not set up yet.
    fn described_media(&self, url: &mut Url) -> Result<usize, Refusal> {
        let track = url.take_track();
        if let Some(session) = &self.session
            && url.decoded_path()? != session.path
        {
            return Err(Status::AGGREGATE_OPERATION_NOT_ALLOWED.into());
        }
        let media = track.or_else(|| (0..sdp::MAX_MEDIAS).find(|media| self.lane(*media).is_none()));
        media
            .filter(|media| *media < sdp::MAX_MEDIAS)
            .ok_or(Status::NOT_FOUND.into())
    }

    /// Checks that a request is about all that this session set up, in one of these states.
    fn check_aggregate(&self, request: &Request, states: &[State]) -> Result<(), Refusal> {
        let session = self.session.as_ref().filter(|session| states.contains(&session.state));
        let session = session.ok_or(Status::METHOD_NOT_VALID_IN_THIS_STATE)?;
        if request.url == "*" {
            return Ok(());
        }
        match session.target(&Url::parse(&request.url)?) {
            Target::Aggregate => Ok(()),
            // One media is all there is, or it is one of several, which cannot be played alone.
            Target::Media(_) if session.streams.len() <= 1 => Ok(()),
            Target::Media(_) => Err(Status::ONLY_AGGREGATE_OPERATION_ALLOWED.into()),
            Target::Foreign => Err(Status::NOT_FOUND.into()),
        }
    }

    fn decide_play(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if self.session.as_ref().is_some_and(|session| session.is_publisher()) {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        self.check_aggregate(request, &[State::Ready, State::Playing])?;
        let range = request
            .headers
            .get("range")
            .map(Range::parse)
            .transpose()
            .map_err(|_| Status::INVALID_RANGE)?;
        if self.state() == State::Playing {
            // A live stream has nowhere to seek to; some players repeat PLAY as a sign of life.
            return Ok(Outcome::Answer(Response::new(Status::OK)));
        }
        Ok(Outcome::Ask(Question::Play, Event::Play { range }))
    }

    fn decide_record(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if !self.session.as_ref().is_some_and(|session| session.is_publisher()) {
            return Err(Status::METHOD_NOT_VALID_IN_THIS_STATE.into());
        }
        self.check_aggregate(request, &[State::Ready])?;
        Ok(Outcome::Ask(Question::Record, Event::Record))
    }

    fn decide_pause(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        self.check_aggregate(request, &[State::Ready, State::Playing, State::Recording])?;
        if let Some(session) = &mut self.session
            && session.state != State::Ready
        {
            session.state = State::Ready;
            self.output.push_back(Output::Event(Event::Paused));
        }
        Ok(Outcome::Answer(Response::new(Status::OK)))
    }

    fn decide_teardown(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        if self.session.is_none() {
            return Err(Status::SESSION_NOT_FOUND.into());
        }
        self.check_aggregate(request, &[State::Init, State::Ready, State::Playing, State::Recording])?;
        self.session = None;
        self.output.push_back(Output::Event(Event::Ended));
        Ok(Outcome::Answer(Response::new(Status::OK)))
    }
}

/// What a transport means to the driver; `None` when it is of no use here.
pub(super) fn offer(transport: &Transport, publish: bool) -> Option<Offer> {
    if transport.profile != Profile::Avp {
        return None;
    }
    match (transport.lower, transport.multicast) {
        (Lower::Tcp, _) => Some(Offer::Tcp),
        (Lower::Udp, true) => (!publish).then_some(Offer::Multicast),
        (Lower::Udp, false) => {
            let (rtp, rtcp) = transport.client_port?;
            (rtp >= LOWEST_CLIENT_PORT && rtcp >= LOWEST_CLIENT_PORT).then_some(Offer::Udp { rtp, rtcp })
        }
    }
}
