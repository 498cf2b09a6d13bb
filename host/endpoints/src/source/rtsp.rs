//! One RTSP session as a reader: `retina` speaks to the camera, our receivers make frames of its packets.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use retina::client::{
    Credentials, Described, InitialSequenceNumberPolicy, InitialTimestampPolicy, PacketItem, PlayOptions, Playing,
    Session, SessionOptions, SetupOptions, TcpTransportOptions, UdpTransportOptions, UnknownRtcpSsrcPolicy,
};
use tokio::time::{timeout, timeout_at};
use url::Url;
use wasmtx_media::{TrackId, Tracks};
use wasmtx_protocol::{
    rtp::{Delivery, Format, Received, Receiver, Timeline},
    rtsp::sdp,
};

use super::{Failure, Plan, START, Source, Transport, USER_AGENT, target::Target, tunnel::Tunnel};
use crate::{dial, wall_clock};

/// How long the first datagram may take before another transport is tried.
const FIRST_DATAGRAM: Duration = Duration::from_secs(3);
/// Letters of a reason in the log.
const MAX_REASON: usize = 200;

/// How media travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lower {
    Udp,
    Tcp,
}

/// Reads a stream and publishes it until something fails.
pub(super) async fn run(source: &mut Source, target: &Target, lower: Lower) -> Result<Infallible, Failure> {
    let turn = source.puller.turn().await?;
    let started = timeout(START, start(&source.plan, target, lower)).await;
    let (session, _tunnel, medias) = started.map_err(|_| Failure::NoAnswer)??;
    drop(turn);
    let mut stream = Stream {
        session,
        medias,
        timeline: Timeline::default(),
        received: Vec::new(),
    };
    let patience = match (lower, source.plan.transport) {
        (Lower::Udp, Transport::Automatic) => FIRST_DATAGRAM.min(source.plan.read_timeout),
        _ => source.plan.read_timeout,
    };
    let mut heard = stream.handle_next(Instant::now() + patience).await?;
    source.go_online(target, stream.tracks())?;
    loop {
        stream.forward(source, heard)?;
        heard = stream.handle_next(heard + source.plan.read_timeout).await?;
    }
}

/// A media that was set up, at the index of its stream.
type Medias = Vec<Option<Receiver>>;

async fn start(
    plan: &Plan,
    target: &Target,
    lower: Lower,
) -> Result<(Session<Playing>, Option<Tunnel>, Medias), Failure> {
    let (url, tunnel) = locate(plan, target).await?;
    let credentials = target.credentials.as_ref().filter(|_| tunnel.is_none());
    let credentials = credentials.map(|(user, password)| Credentials {
        username: user.clone(),
        password: password.expose().to_owned(),
    });
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(USER_AGENT.to_owned());
    let mut session = Session::describe(url, options).await.map_err(reason)?;
    let formats = formats(&session)?;
    let mut medias: Medias = formats.iter().map(|_| None).collect();
    for (at, format) in formats.iter().enumerate() {
        let (Some(format), Ok(number)) = (format, u32::try_from(at)) else {
            continue;
        };
        let transport = match lower {
            Lower::Udp => retina::client::Transport::Udp(UdpTransportOptions::default()),
            Lower::Tcp => retina::client::Transport::Tcp(TcpTransportOptions::default()),
        };
        session
            .setup(at, SetupOptions::default().transport(transport))
            .await
            .map_err(reason)?;
        // Over UDP, too, packets come in order: retina drops those that are late.
        medias[at] = Some(Receiver::new(
            format,
            format.track(TrackId(number)),
            Delivery::Ordered,
            rand::random(),
        ));
    }
    if medias.iter().all(Option::is_none) {
        return Err(Failure::NoTracks);
    }
    // What PLAY says about timestamps and sequence numbers is wrong too often; the packets know.
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let session = session.play(options).await.map_err(reason)?;
    Ok((session, tunnel, medias))
}

/// Where to connect to: the URL itself, or a tunnel where the connection is encrypted or a client chose the server.
async fn locate(plan: &Plan, target: &Target) -> Result<(Url, Option<Tunnel>), Failure> {
    if target.trusted_host && !target.encrypted {
        return Ok((target.url.clone(), None));
    }
    let host = target.host();
    let place = plan.place(target, &host);
    let connection = place.connect().await?;
    let tunnel = if target.encrypted {
        Tunnel::open(place.encrypt(connection, plan.fingerprint).await?, target).await
    } else {
        Tunnel::open(connection, target).await
    };
    let tunnel = tunnel.map_err(|error| dial::Error::Connect(host, error))?;
    Ok((tunnel.url.clone(), Some(tunnel)))
}

/// The format of each of retina's streams, from the description itself: retina keeps less of it than we need. `None` for
/// back channels and what is beyond the tracks that a publication may have.
fn formats(session: &Session<Described>) -> Result<Vec<Option<Format>>, Failure> {
    let description = sdp::Session::parse(session.sdp()).map_err(|error| Failure::Rtsp(error.to_string()))?;
    let mut medias = description.medias.iter();
    let formats = session.streams().iter().map(|stream| {
        // Retina leaves out medias that it cannot parse, and takes the first format of the others.
        let media = medias.find(|media| {
            media
                .formats
                .first()
                .is_some_and(|format| format.payload_type == stream.rtp_payload_type())
        })?;
        media.formats.first().filter(|_| !media.is_back_channel()).cloned()
    });
    Ok(formats.collect())
}

struct Stream {
    session: Session<Playing>,
    medias: Medias,
    timeline: Timeline,
    /// Frames that are complete and not yet published.
    received: Vec<Received>,
}

impl Stream {
    /// Takes packets up to the next one of media, and says when it came.
    async fn handle_next(&mut self, deadline: Instant) -> Result<Instant, Failure> {
        loop {
            let item = timeout_at(deadline.into(), self.session.next())
                .await
                .map_err(|_| Failure::Silence)?;
            let now = Instant::now();
            match item.ok_or(Failure::Closed)?.map_err(reason)? {
                PacketItem::Rtp(packet) => {
                    let Some(Some(media)) = self.medias.get_mut(packet.stream_id()) else {
                        continue;
                    };
                    let bytes = Bytes::copy_from_slice(packet.raw());
                    media.handle_rtp(now, &bytes, &mut self.timeline, &mut self.received);
                    return Ok(now);
                }
                PacketItem::Rtcp(packet) => {
                    if let Some(Some(media)) = self.medias.get_mut(packet.stream_id()) {
                        media.handle_rtcp(now, packet.raw());
                    }
                }
                _ => {}
            }
        }
    }

    /// Publishes the frames that have come.
    fn forward(&mut self, source: &mut Source, now: Instant) -> Result<(), Failure> {
        let Some(publisher) = &mut source.publisher else {
            return Ok(());
        };
        for Received { frame, codec } in std::mem::take(&mut self.received) {
            if codec.is_some() {
                publisher.set_tracks(now, self.tracks()).map_err(Failure::Tracks)?;
            }
            publisher.push(now, wall_clock(), frame).map_err(Failure::Ended)?;
        }
        Ok(())
    }

    fn tracks(&self) -> Tracks {
        self.medias
            .iter()
            .flatten()
            .map(|media| media.track().clone())
            .collect()
    }
}

/// What retina says, without the addresses and positions that make every message another one.
fn reason(error: retina::Error) -> Failure {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    match error.status_code() {
        Some(status) => Failure::Refused(status, line),
        None => Failure::Rtsp(line),
    }
}
