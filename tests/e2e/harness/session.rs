//! One RTSP connection of our own, driven by hand: to read every frame, or to misbehave.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use bytes::BytesMut;
use wasmtx_protocol::rtsp::{
    auth,
    client::{Client, Config, Event, Goal, Lane, Output, Way},
    sdp,
};

use super::PATIENCE;

/// User and password.
pub(crate) type Login<'a> = Option<(&'a str, &'a str)>;

/// An open connection.
pub(crate) struct Session {
    stream: TcpStream,
    client: Client,
    input: BytesMut,
}

impl Session {
    /// Connects, and begins to read `path` (with its query) or to publish there.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, path: &str, login: Login<'_>, goal: Goal) -> Session {
        let stream = TcpStream::connect(address).expect("a connection to the server");
        let config = Config {
            url: format!("rtsp://{address}/{path}"),
            login: login.map(|(user, password)| auth::Login::new(user, auth::Secret::new(password))),
            seed: [7; 32],
            user_agent: "wasmtx-e2e".to_owned(),
        };
        Session {
            stream,
            client: Client::new(Instant::now(), config, goal),
            input: BytesMut::new(),
        }
    }

    /// Publishes these medias, and comes back when the server has agreed.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn publish(
        address: SocketAddr,
        path: &str,
        login: Login<'_>,
        medias: sdp::Session,
    ) -> Result<Session, String> {
        let ways = vec![Way::Tcp; medias.medias.len()];
        let mut session = Session::open(address, path, login, Goal::Publish(medias, ways));
        loop {
            if let Event::Recording = session.next()? {
                return Ok(session);
            }
        }
    }

    /// Plays a path, all of its medias, and comes back when the server has agreed.
    ///
    /// # Errors
    /// What the server had against it.
    pub(crate) fn play(address: SocketAddr, path: &str, login: Login<'_>) -> Result<(Session, sdp::Session), String> {
        let mut session = Session::open(address, path, login, Goal::Read);
        let mut description = sdp::Session::default();
        loop {
            match session.next()? {
                Event::Described(found) => {
                    session
                        .client
                        .set_up((0..found.medias.len()).map(|media| (media, Way::Tcp)));
                    description = found;
                }
                Event::Playing(_) => return Ok((session, description)),
                Event::Redirected(elsewhere) => return Err(format!("redirected to {elsewhere}")),
                _ => {}
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// How the connection came to its end.
    pub(crate) fn next(&mut self) -> Result<Event, String> {
        loop {
            match self.client.poll() {
                Output::Event(event) => return Ok(event),
                Output::Send(bytes) => self.stream.write_all(&bytes).map_err(|error| error.to_string())?,
                Output::Close(reason) => return Err(reason.to_string()),
                Output::WaitUntil(at) => {
                    self.receive(at).map_err(|error| error.to_string())?;
                }
            }
        }
    }

    fn receive(&mut self, until: Instant) -> io::Result<()> {
        let wait = until.saturating_duration_since(Instant::now()).min(PATIENCE);
        if wait.is_zero() {
            self.client.handle_timeout(Instant::now());
            return Ok(());
        }
        self.stream.set_read_timeout(Some(wait))?;
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::Error::other("the server closed the connection")),
            Ok(size) => {
                self.input.extend_from_slice(&buffer[..size]);
                self.client.handle_input(Instant::now(), &mut self.input);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.client.handle_timeout(Instant::now());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The channel of a media's RTP packets.
    pub(crate) fn channel(&self, media: usize) -> u8 {
        match self.client.lane(media) {
            Some(Lane::Tcp { rtp, .. }) => rtp,
            other => panic!("media {media} travels by {other:?}"),
        }
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
