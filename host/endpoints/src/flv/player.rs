//! A connection that plays: it was HTTP's, and now carries a stream to its end.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use wasmtx_hub::{Client, CloseReason, Event, Hub};
use wasmtx_media::Kind;
use wasmtx_protocol::{
    flv::{Choice, file},
    websocket::{self, Receiver, Said, Status, Violation},
};

use super::{
    Shared,
    form::{FlvForm, message},
    registry::{Conn, Listed},
};
use crate::{
    http::Taken,
    permission::Permission,
    tcp::{Feed, Follower, Io, Membership, Outgoing, Over, Stream},
};

/// For the last frame to reach the client: it should, but not at any price.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes that a client may say who has nothing more to say; a WebSocket's are bounded message by message.
const MAX_CHATTER: u64 = 64 << 10;

/// A player, before its connection is there.
pub(super) struct Player {
    shared: Arc<Shared>,
    conn: Listed<Conn>,
    visit: Visit,
    permission: Permission,
    /// Until a crew has it.
    follower: Option<Follower<FlvForm>>,
    crew: Option<Membership<Follower<FlvForm>>>,
    /// Reads what a WebSocket's client says.
    receiver: Option<Receiver>,
    /// What the file begins with.
    file: Bytes,
    /// Its tracks, for the log.
    plays: String,
    write_timeout: Duration,
}

/// Why a player is gone.
enum End {
    /// The socket is.
    Socket(io::Error),
    /// The client closed.
    Hangup,
    /// The stream or the permission is over, or the server stops.
    Stream(CloseReason),
    /// Through the API or a plugin, with its words.
    Kicked(String),
    /// It breaks the rules of WebSockets.
    Violation(Violation),
    /// It says too much.
    Chatter,
}

impl Player {
    pub(super) fn new(
        shared: Arc<Shared>,
        conn: Listed<Conn>,
        visit: Visit,
        permission: Permission,
        follower: Follower<FlvForm>,
        choice: &Choice,
    ) -> Player {
        let has = |kind| choice.tracks.iter().any(|track| track.kind == kind);
        Player {
            file: file::header(has(Kind::Audio), has(Kind::Video)),
            plays: Names(choice).to_string(),
            receiver: conn.web_socket.then(Receiver::default),
            write_timeout: shared.settings.load().write_timeout,
            follower: Some(follower),
            crew: None,
            shared,
            conn,
            visit,
            permission,
        }
    }

    /// Plays behind `head`, until something ends it.
    pub(super) async fn run(mut self, head: Bytes, taken: Taken) {
        let Taken {
            stream,
            early,
            mut slot,
            stop,
        } = taken;
        slot.welcome();
        let Conn { id, remote, path, .. } = &**self.conn;
        let plays = std::mem::take(&mut self.plays);
        tracing::info!(conn = %id, %remote, path, "[FLV] is reading {plays}");
        let mut stream = Stream::from(stream);
        let mut outgoing = Outgoing::default();
        let file = std::mem::take(&mut self.file);
        outgoing.push(head);
        outgoing.push(if self.conn.web_socket { message(&file) } else { file });
        let end = self.serve(&mut stream, early.into(), &mut outgoing, stop).await;
        if end.leaves_time() {
            let _ = tokio::time::timeout(LAST_WORDS, self.say_goodbye(&mut stream, &mut outgoing, &end)).await;
        }
        self.finish(&end);
    }

    /// The loop: says, hears and waits until something ends it.
    async fn serve(
        &mut self,
        stream: &mut Stream,
        mut input: BytesMut,
        outgoing: &mut Outgoing,
        mut stop: watch::Receiver<bool>,
    ) -> End {
        let conn = Arc::clone(&self.conn);
        let bell = conn.orders.bell().notified();
        tokio::pin!(bell);
        let mut stalled_since: Option<Instant> = None;
        let mut chatter = 0;
        loop {
            if let Err(end) = self.hear(&mut input, outgoing, &mut chatter) {
                return end;
            }
            let now = Instant::now();
            if let Err(end) = self.obey(now) {
                return end;
            }
            let ended = self.fill(now, stream, outgoing);
            if !outgoing.is_empty() {
                match stream.write_now(outgoing).await {
                    Ok(0) => stalled_since = stalled_since.or(Some(now)),
                    Ok(written) => {
                        conn.outbound_bytes.add(written as u64);
                        stalled_since = (!outgoing.is_empty()).then_some(now);
                    }
                    Err(error) => return End::Socket(error),
                }
            }
            if let Some(reason) = ended {
                return End::Stream(reason);
            }
            let stall = stalled_since.map(|since| since + self.write_timeout);
            if stall.is_some_and(|stall| now >= stall) {
                return End::Stream(CloseReason::TooSlow);
            }
            let deadline = [stall, self.permission.deadline()].into_iter().flatten().min();
            let may_take = outgoing.is_empty();
            let may_ask = !outgoing.is_choked();
            let Player {
                permission,
                follower,
                crew,
                ..
            } = self;
            tokio::select! {
                biased;
                decision = permission.answer() => {
                    if let Err(reason) = permission.handle_answer(Instant::now(), &decision, rand::random()) {
                        return End::Stream(reason);
                    }
                }
                io = stream.ready(&mut input, may_ask, false, outgoing) => match io {
                    Ok(Io::Read(0)) => return End::Hangup,
                    Ok(Io::Read(len)) => conn.inbound_bytes.add(len as u64),
                    Ok(Io::Written(len)) => {
                        stalled_since = (!outgoing.is_empty()).then(Instant::now);
                        conn.outbound_bytes.add(len as u64);
                    }
                    Err(error) => return End::Socket(error),
                },
                () = news(follower), if may_take => {}
                over = over(crew) => {
                    self.crew = None;
                    match over {
                        Over::Left(half) => stream.give_back(half),
                        Over::Ended(half, reason) => {
                            stream.give_back(half);
                            return End::Stream(reason);
                        }
                        Over::Failed(error) => return End::Socket(error),
                        Over::TooSlow => return End::Stream(CloseReason::TooSlow),
                    }
                }
                () = &mut bell => bell.set(conn.orders.bell().notified()),
                () = stopping(&mut stop) => return End::Stream(CloseReason::Shutdown),
                () = passed(deadline) => {}
            }
        }
    }

    /// Takes what the client says.
    fn hear(&mut self, input: &mut BytesMut, outgoing: &mut Outgoing, chatter: &mut u64) -> Result<(), End> {
        let Some(receiver) = &mut self.receiver else {
            *chatter += input.len() as u64;
            input.clear();
            return if *chatter > MAX_CHATTER {
                Err(End::Chatter)
            } else {
                Ok(())
            };
        };
        while let Some(said) = receiver.handle(input).map_err(End::Violation)? {
            match said {
                Said::Ping(payload) => outgoing.push_answer(websocket::pong(&payload)),
                Said::Close(status) => {
                    outgoing.push_answer(websocket::close_as_said(status));
                    return Err(End::Hangup);
                }
            }
        }
        Ok(())
    }

    /// Does what others say: the operator, a plugin, the gate.
    fn obey(&mut self, now: Instant) -> Result<(), End> {
        if let Some(why) = self.conn.orders.kicked() {
            return Err(End::Kicked(why.to_owned()));
        }
        let rules = self.shared.registry.rules();
        let obeyed = self.permission.handle_time(now, rules, &self.shared.gate);
        obeyed.map_err(End::Stream)
    }

    /// Has a crew write, where it can: else takes what there is. Answers why the stream is over.
    fn fill(&mut self, now: Instant, stream: &mut Stream, outgoing: &mut Outgoing) -> Option<CloseReason> {
        if let Some(crew) = &self.crew {
            if !outgoing.is_empty() {
                crew.answer(outgoing.take());
            }
            return None;
        }
        if self.follower.is_some()
            && let Some(writer) = stream.lend()
            && let Some(follower) = self.follower.take()
        {
            self.crew = Some(follower.join_crew(writer, outgoing.take(), self.write_timeout));
            return None;
        }
        let follower = self.follower.as_mut()?;
        if !outgoing.is_empty() || !follower.is_due() {
            return None;
        }
        follower.fill_alone(now, outgoing)
    }

    /// Writes what was begun, says why it is over where there is a way to say it, and closes.
    async fn say_goodbye(&mut self, stream: &mut Stream, outgoing: &mut Outgoing, end: &End) -> io::Result<()> {
        if let Some(crew) = self.crew.take() {
            match crew.leave(end.reason()).await {
                Over::Left(half) | Over::Ended(half, _) => stream.give_back(half),
                Over::Failed(error) => return Err(error),
                Over::TooSlow => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        if self.conn.web_socket
            && let Some(status) = end.status()
        {
            outgoing.push(websocket::close(status));
        }
        stream.finish(outgoing).await
    }

    fn finish(self, end: &End) {
        let (reason, code) = (end.reason(), end.code());
        let Conn { id, remote, path, .. } = &**self.conn;
        if let Some(label) = end.blame() {
            self.shared.registry.count_refused(label);
        }
        tracing::info!(conn = %id, %remote, path, code, "[FLV] connection closed: {end}");
        if let Some(follower) = self.follower {
            follower.close(reason);
        }
        if let Some(crew) = self.crew {
            crew.close(reason);
        }
        self.visit.end(reason);
    }
}

/// A client whom the gate let in; whoever follows the events hears when it comes and when it goes.
pub(super) struct Visit {
    hub: Hub,
    client: Arc<Client>,
    reason: CloseReason,
}

impl Visit {
    pub(super) fn new(hub: &Hub, client: Arc<Client>) -> Visit {
        hub.events().emit(|| Event::Connected(client.clone()));
        Visit {
            hub: hub.clone(),
            client,
            reason: CloseReason::Ended,
        }
    }

    /// It goes for this reason, and not of its own accord.
    fn end(mut self, reason: CloseReason) {
        self.reason = reason;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let (client, reason) = (self.client.clone(), self.reason);
        self.hub.events().emit(|| Event::Disconnected(client, reason));
    }
}

/// The tracks that are played, and those that are not, for the log.
struct Names<'a>(&'a Choice);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Names(Choice { tracks, left_out, .. }) = self;
        let names: Vec<&str> = tracks.iter().map(|track| track.codec.name()).collect();
        f.write_str(&names.join(", "))?;
        if !left_out.is_empty() {
            write!(f, "; left out: {}", left_out.join(", "))?;
        }
        Ok(())
    }
}

/// Resolves when the reader has something to take; never while a crew has it.
async fn news(follower: &mut Option<Follower<FlvForm>>) {
    match follower {
        Some(follower) => follower.news().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the crew no longer writes for this reader; never without one.
async fn over(crew: &mut Option<Membership<Follower<FlvForm>>>) -> Over {
    match crew {
        Some(crew) => crew.over().await,
        None => std::future::pending().await,
    }
}

/// Resolves at this time; never without one.
async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the server stops, or is gone.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl End {
    /// Whether the client is there to hear a last word.
    fn leaves_time(&self) -> bool {
        !matches!(self, End::Socket(_) | End::Stream(CloseReason::TooSlow))
    }

    /// In the hub's words.
    fn reason(&self) -> CloseReason {
        match self {
            // Players that quit leave bytes unread, and their system resets the connection.
            End::Socket(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::Ended,
                _ => CloseReason::Failed,
            },
            End::Hangup => CloseReason::Ended,
            End::Stream(reason) => *reason,
            End::Kicked(_) => CloseReason::Kicked,
            End::Violation(_) | End::Chatter => CloseReason::Failed,
        }
    }

    /// In the words of WebSockets; a client that closed first has its answer.
    fn status(&self) -> Option<Status> {
        Some(match self {
            End::Socket(_) | End::Hangup => return None,
            End::Stream(CloseReason::Shutdown) => Status::GoingAway,
            End::Stream(CloseReason::Expired) | End::Kicked(_) => Status::Policy,
            End::Stream(_) | End::Chatter => Status::Normal,
            End::Violation(Violation(status)) => *status,
        })
    }

    /// The label under which it is counted, when it is the client's fault.
    fn blame(&self) -> Option<&'static str> {
        match self {
            End::Violation(_) => Some("websocket"),
            End::Chatter => Some("chatter"),
            End::Stream(CloseReason::TooSlow) => Some("too-slow"),
            _ => None,
        }
    }

    /// The field `code` of the log.
    fn code(&self) -> &'static str {
        self.blame().unwrap_or(match self {
            End::Socket(_) => "socket",
            End::Hangup => "hangup",
            End::Kicked(_) => "kicked",
            _ => "stream",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Socket(error) => error.fmt(f),
            End::Hangup => f.write_str("closed by the client"),
            End::Stream(reason) => reason.fmt(f),
            End::Kicked(why) if why.is_empty() => CloseReason::Kicked.fmt(f),
            End::Kicked(why) => write!(f, "{}: {why}", CloseReason::Kicked),
            End::Violation(violation) => violation.fmt(f),
            End::Chatter => f.write_str("it says more than a player has to say"),
        }
    }
}
