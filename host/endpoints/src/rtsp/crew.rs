//! One task that writes for many readers of one publication.
//!
//! A reader that plays inside its connection, unencrypted, lends the writing half of its socket to a crew. When a frame
//! is published one task wakes instead of a thousand, and does for each reader what a relay would: take, write. The
//! reader's own task keeps the reading half, and gets the writing one back at the end.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    net::tcp::OwnedWriteHalf,
    sync::{mpsc, oneshot},
};
use wasmtx_hub::{CloseReason, News, Publication};

use super::{
    play::{Playing, Taken, Ways},
    registry::{Conn, Session},
};
use crate::tcp::Outgoing;

/// Readers of one crew: beyond them another crew, for another core, begins.
const HANDS: usize = 1_024;
/// Readers served before other tasks of the worker thread get their turn: about half a millisecond.
const TURN: usize = 128;
/// Readers that take nothing are looked at this often.
const STALL_CHECK: Duration = Duration::from_millis(500);

/// The crews of one publication. Each ends with its last reader.
#[derive(Default)]
pub(super) struct Crews(Vec<Weak<Crew>>);

/// A crew, as its readers hold it.
struct Crew {
    orders: mpsc::UnboundedSender<Order>,
    hands: AtomicUsize,
    next_id: AtomicU64,
}

/// What a reader tells its crew. Unbounded, and yet few: a reader joins, leaves, and has its answers choked.
enum Order {
    Join(Box<Member>),
    /// An answer to be written between two packets.
    Answer(u64, Outgoing),
    /// Give the half back when what was begun is written; the reader goes for this reason.
    Leave(u64, CloseReason),
    /// The reader is gone, for this reason.
    Forget(u64, CloseReason),
}

/// What a reader lends.
pub(super) struct Hand {
    pub(super) writer: OwnedWriteHalf,
    pub(super) playing: Playing,
    pub(super) ways: Ways,
    /// What the reader's task had still to write.
    pub(super) outgoing: Outgoing,
    pub(super) session: Arc<Session>,
    pub(super) conn: Arc<Conn>,
    pub(super) write_timeout: Duration,
}

/// How a reader's time with its crew ended.
pub(super) enum Over {
    /// As it asked for.
    Left(OwnedWriteHalf),
    /// The stream is over, and its last frame was written.
    Ended(OwnedWriteHalf, CloseReason),
    /// The socket is.
    Failed(io::Error),
    /// It took nothing for too long.
    TooSlow,
}

/// A reader's place in a crew; dropping it ends the reading.
pub(super) struct Membership {
    crew: Arc<Crew>,
    id: u64,
    end: CloseReason,
    over: oneshot::Receiver<Over>,
}

impl Crews {
    /// Joins a crew with room, or a new one.
    pub(super) fn join(&mut self, publication: &Publication, hand: Hand) -> Membership {
        self.0.retain(|crew| crew.strong_count() > 0);
        let crews = self.0.iter().filter_map(Weak::upgrade);
        let with_room = crews
            .into_iter()
            .find(|crew| crew.hands.load(Ordering::Relaxed) < HANDS);
        let crew = with_room.unwrap_or_else(|| {
            let (orders, inbox) = mpsc::unbounded_channel();
            tokio::spawn(
                Task {
                    inbox,
                    news: publication.follow(),
                    members: Vec::new(),
                }
                .run(),
            );
            let crew = Arc::new(Crew {
                orders,
                hands: AtomicUsize::new(0),
                next_id: AtomicU64::new(0),
            });
            self.0.push(Arc::downgrade(&crew));
            crew
        });
        crew.hands.fetch_add(1, Ordering::Relaxed);
        let id = crew.next_id.fetch_add(1, Ordering::Relaxed);
        let (told, over) = oneshot::channel();
        crew.tell(Order::Join(Box::new(Member {
            id,
            hand,
            told,
            stalled_since: None,
            ended: None,
            leaves: None,
        })));
        Membership {
            crew,
            id,
            end: CloseReason::Ended,
            over,
        }
    }
}

impl Crew {
    fn tell(&self, order: Order) {
        // The task outlives every sender.
        let _ = self.orders.send(order);
    }
}

impl Membership {
    /// Has an answer written between two packets.
    pub(super) fn answer(&self, answer: Outgoing) {
        self.crew.tell(Order::Answer(self.id, answer));
    }

    /// Waits for the end. Cancel safe.
    pub(super) async fn over(&mut self) -> Over {
        (&mut self.over)
            .await
            .unwrap_or_else(|_| Over::Failed(io::ErrorKind::BrokenPipe.into()))
    }

    /// Ends the reading for this reason.
    pub(super) fn close(mut self, reason: CloseReason) {
        self.end = reason;
    }

    /// Asks for the half back, and waits for it.
    pub(super) async fn leave(mut self, reason: CloseReason) -> Over {
        self.end = reason;
        self.crew.tell(Order::Leave(self.id, reason));
        self.over().await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.crew.hands.fetch_sub(1, Ordering::Relaxed);
        self.crew.tell(Order::Forget(self.id, self.end));
    }
}

/// A reader, as the crew serves it.
struct Member {
    id: u64,
    hand: Hand,
    told: oneshot::Sender<Over>,
    /// Bytes wait, and the socket has taken none since.
    stalled_since: Option<Instant>,
    /// The stream's end, once its last frame was taken.
    ended: Option<CloseReason>,
    /// Why it wants its half back.
    leaves: Option<CloseReason>,
}

/// Why a member goes.
enum Fate {
    GivenBack,
    Failed(io::Error),
    TooSlow,
}

struct Task {
    inbox: mpsc::UnboundedReceiver<Order>,
    news: News,
    members: Vec<Member>,
}

impl Task {
    async fn run(mut self) {
        let mut checked = Instant::now();
        loop {
            self.serve().await;
            let merge = self
                .members
                .first()
                .map_or(Duration::ZERO, |member| member.hand.playing.merge_window());
            if !merge.is_zero() {
                tokio::time::sleep(merge).await;
            }
            let more = self.members.iter().any(|member| member.takes_more());
            let stalled = self.members.iter().any(|member| member.stalled_since.is_some());
            let Task { inbox, news, members } = &mut self;
            tokio::select! {
                biased;
                order = inbox.recv() => {
                    let Some(order) = order else { return };
                    self.carry_out(order);
                    while let Ok(order) = self.inbox.try_recv() {
                        self.carry_out(order);
                    }
                }
                () = std::future::ready(()), if more => {}
                () = news.wait() => {}
                () = writable(members), if stalled => {}
                () = tokio::time::sleep_until((checked + STALL_CHECK).into()), if stalled => checked = Instant::now(),
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        let place = |members: &[Member], id| members.iter().position(|member| member.id == id);
        match order {
            Order::Join(member) => self.members.push(*member),
            Order::Answer(id, answer) => {
                if let Some(place) = place(&self.members, id) {
                    let outgoing = &mut self.members[place].hand.outgoing;
                    outgoing.append(answer);
                    // Who asks and asks and takes no answers is not worth the memory.
                    if outgoing.is_choked() {
                        self.members.swap_remove(place).go(Fate::TooSlow);
                    }
                }
            }
            Order::Leave(id, reason) => {
                if let Some(place) = place(&self.members, id) {
                    self.members[place].leaves = Some(reason);
                }
            }
            Order::Forget(id, reason) => {
                if let Some(place) = place(&self.members, id) {
                    self.members.swap_remove(place).hand.playing.close(reason);
                }
            }
        }
    }

    /// Gives every reader its turn, a few at a time.
    async fn serve(&mut self) {
        let mut space = Taken::default();
        let mut place = 0;
        while place < self.members.len() {
            let now = Instant::now();
            let end = place + TURN;
            while place < end.min(self.members.len()) {
                match self.members[place].serve(now, &mut space) {
                    None => place += 1,
                    Some(fate) => self.members.swap_remove(place).go(fate),
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Why a reader is gone whose socket failed: players that quit leave bytes unread, and their system resets the connection.
pub(super) fn end_of(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::Ended,
        _ => CloseReason::Failed,
    }
}

/// Waits until a reader who took nothing takes something.
async fn writable(members: &mut [Member]) {
    std::future::poll_fn(|cx| {
        let stalled = members.iter_mut().filter(|member| member.stalled_since.is_some());
        // Every one of them must be asked, or its socket would not wake this task.
        let moved = stalled
            .filter_map(|member| member.write(cx).is_ready().then_some(()))
            .count();
        if moved > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await
}

impl Member {
    /// Whether there is more to take at once.
    fn takes_more(&self) -> bool {
        self.stalled_since.is_none() && self.ended.is_none() && self.hand.playing.has_more()
    }

    /// The member's turn. Answers why it goes; `None`: it stays.
    fn serve(&mut self, now: Instant, space: &mut Taken) -> Option<Fate> {
        let Hand {
            writer,
            playing,
            ways,
            outgoing,
            session,
            conn,
            write_timeout,
        } = &mut self.hand;
        if outgoing.is_empty() && self.leaves.is_none() && self.ended.is_none() {
            self.ended = playing.fill_interleaved(now, ways, outgoing, &session.traffic, space);
        }
        if !outgoing.is_empty() {
            match outgoing.try_write(writer) {
                Ok(0) => {}
                Ok(written) => {
                    self.stalled_since = None;
                    conn.outbound_bytes.add(written as u64);
                }
                Err(error) => return Some(Fate::Failed(error)),
            }
            if !outgoing.is_empty() {
                let since = *self.stalled_since.get_or_insert(now);
                let too_slow = now.saturating_duration_since(since) >= *write_timeout;
                return too_slow.then_some(Fate::TooSlow);
            }
        }
        self.stalled_since = None;
        (self.leaves.is_some() || self.ended.is_some()).then_some(Fate::GivenBack)
    }

    /// Writes what waits; when the socket takes nothing, the task is woken when it does.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = std::task::ready!(self.hand.outgoing.poll_write(cx, &mut self.hand.writer))?;
        self.hand.conn.outbound_bytes.add(written as u64);
        Poll::Ready(Ok(()))
    }

    fn go(self, fate: Fate) {
        let Hand { writer, playing, .. } = self.hand;
        let (over, reason) = match (fate, self.ended) {
            (Fate::Failed(error), _) => {
                let reason = end_of(&error);
                (Over::Failed(error), reason)
            }
            (Fate::TooSlow, _) => (Over::TooSlow, CloseReason::TooSlow),
            (Fate::GivenBack, Some(reason)) if self.leaves.is_none() => (Over::Ended(writer, reason), reason),
            (Fate::GivenBack, _) => (Over::Left(writer), self.leaves.unwrap_or(CloseReason::Ended)),
        };
        playing.close(reason);
        // A reader's task that is gone needs no answer.
        let _ = self.told.send(over);
    }
}
