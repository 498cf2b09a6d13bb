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

use super::Outgoing;

/// Readers of one crew: beyond them another crew, for another core, begins.
const HANDS: usize = 1_024;
/// Readers served before other tasks of the worker thread get their turn: about half a millisecond.
const TURN: usize = 128;
/// Readers that take nothing are looked at this often.
const STALL_CHECK: Duration = Duration::from_millis(500);

/// A reader of a publication, as whoever writes for it sees it: it takes from the ring, and says what to write.
pub(crate) trait Feed: Send + 'static {
    /// What the readers of a crew have in common while each gets its turn: memory that stays near, and what one of them
    /// found out. Made anew for each round.
    type Space: Default + Send;

    /// Takes what is there and queues it; called when nothing waits to be written. Answers why the stream is over, once
    /// its last frame was taken.
    fn fill(&mut self, now: Instant, outgoing: &mut Outgoing, space: &mut Self::Space) -> Option<CloseReason>;

    /// Whether there is more to take at once.
    fn has_more(&self) -> bool;

    /// `writeMergeWindow`: frames that come within it go out together.
    fn merge_window(&self) -> Duration;

    /// So many bytes went out.
    fn count_sent(&self, bytes: usize);

    /// Stops reading for this reason.
    fn close(self, reason: CloseReason);
}

/// The crews of one publication. Each ends with its last reader.
pub(crate) struct Crews<F>(Vec<Weak<Crew<F>>>);

impl<F> Default for Crews<F> {
    fn default() -> Self {
        Crews(Vec::new())
    }
}

/// A crew, as its readers hold it.
struct Crew<F> {
    orders: mpsc::UnboundedSender<Order<F>>,
    hands: AtomicUsize,
    next_id: AtomicU64,
}

/// What a reader tells its crew. Unbounded, and yet few: a reader joins, leaves, and has its answers choked.
enum Order<F> {
    Join(Box<Member<F>>),
    /// An answer to be written between two packets.
    Answer(u64, Outgoing),
    /// Give the half back when what was begun is written; the reader goes for this reason.
    Leave(u64, CloseReason),
    /// The reader is gone, for this reason.
    Forget(u64, CloseReason),
}

/// What a reader lends.
pub(crate) struct Hand<F> {
    pub(crate) writer: OwnedWriteHalf,
    pub(crate) feed: F,
    /// What the reader's task had still to write.
    pub(crate) outgoing: Outgoing,
    pub(crate) write_timeout: Duration,
}

/// How a reader's time with its crew ended.
pub(crate) enum Over {
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
pub(crate) struct Membership<F> {
    crew: Arc<Crew<F>>,
    id: u64,
    end: CloseReason,
    over: oneshot::Receiver<Over>,
}

impl<F: Feed> Crews<F> {
    /// Joins a crew with room, or a new one.
    pub(crate) fn join(&mut self, publication: &Publication, hand: Hand<F>) -> Membership<F> {
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

impl<F> Crew<F> {
    fn tell(&self, order: Order<F>) {
        // The task outlives every sender.
        let _ = self.orders.send(order);
    }
}

impl<F> Membership<F> {
    /// Has an answer written between two packets.
    pub(crate) fn answer(&self, answer: Outgoing) {
        self.crew.tell(Order::Answer(self.id, answer));
    }

    /// Waits for the end. Cancel safe.
    pub(crate) async fn over(&mut self) -> Over {
        (&mut self.over)
            .await
            .unwrap_or_else(|_| Over::Failed(io::ErrorKind::BrokenPipe.into()))
    }

    /// Ends the reading for this reason.
    pub(crate) fn close(mut self, reason: CloseReason) {
        self.end = reason;
    }

    /// Asks for the half back, and waits for it.
    pub(crate) async fn leave(mut self, reason: CloseReason) -> Over {
        self.end = reason;
        self.crew.tell(Order::Leave(self.id, reason));
        self.over().await
    }
}

impl<F> Drop for Membership<F> {
    fn drop(&mut self) {
        self.crew.hands.fetch_sub(1, Ordering::Relaxed);
        self.crew.tell(Order::Forget(self.id, self.end));
    }
}

/// A reader, as the crew serves it.
struct Member<F> {
    id: u64,
    hand: Hand<F>,
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

struct Task<F> {
    inbox: mpsc::UnboundedReceiver<Order<F>>,
    news: News,
    members: Vec<Member<F>>,
}

impl<F: Feed> Task<F> {
    async fn run(mut self) {
        let mut checked = Instant::now();
        loop {
            self.serve().await;
            let merge = self
                .members
                .first()
                .map_or(Duration::ZERO, |member| member.hand.feed.merge_window());
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

    fn carry_out(&mut self, order: Order<F>) {
        let place = |members: &[Member<F>], id| members.iter().position(|member| member.id == id);
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
                    self.members.swap_remove(place).hand.feed.close(reason);
                }
            }
        }
    }

    /// Gives every reader its turn, a few at a time.
    async fn serve(&mut self) {
        let mut space = F::Space::default();
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
fn end_of(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::Ended,
        _ => CloseReason::Failed,
    }
}

/// Waits until a reader who took nothing takes something.
async fn writable<F: Feed>(members: &mut [Member<F>]) {
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

impl<F: Feed> Member<F> {
    /// Whether there is more to take at once.
    fn takes_more(&self) -> bool {
        self.stalled_since.is_none() && self.ended.is_none() && self.hand.feed.has_more()
    }

    /// The member's turn. Answers why it goes; `None`: it stays.
    fn serve(&mut self, now: Instant, space: &mut F::Space) -> Option<Fate> {
        let Hand {
            writer,
            feed,
            outgoing,
            write_timeout,
        } = &mut self.hand;
        if outgoing.is_empty() && self.leaves.is_none() && self.ended.is_none() {
            self.ended = feed.fill(now, outgoing, space);
        }
        if !outgoing.is_empty() {
            match outgoing.try_write(writer) {
                Ok(0) => {}
                Ok(written) => {
                    self.stalled_since = None;
                    feed.count_sent(written);
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
        self.hand.feed.count_sent(written);
        // A slow reader that takes a little all the time is not stalled.
        self.stalled_since = (!self.hand.outgoing.is_empty()).then(Instant::now);
        Poll::Ready(Ok(()))
    }

    fn go(self, fate: Fate) {
        let Hand { writer, feed, .. } = self.hand;
        let (over, reason) = match (fate, self.ended) {
            (Fate::Failed(error), _) => {
                let reason = end_of(&error);
                (Over::Failed(error), reason)
            }
            (Fate::TooSlow, _) => (Over::TooSlow, CloseReason::TooSlow),
            (Fate::GivenBack, Some(reason)) if self.leaves.is_none() => (Over::Ended(writer, reason), reason),
            (Fate::GivenBack, _) => (Over::Left(writer), self.leaves.unwrap_or(CloseReason::Ended)),
        };
        feed.close(reason);
        // A reader's task that is gone needs no answer.
        let _ = self.told.send(over);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A reader whose stream has nothing new.
    struct Silence;

    impl Feed for Silence {
        type Space = ();

        fn fill(&mut self, _now: Instant, _outgoing: &mut Outgoing, (): &mut ()) -> Option<CloseReason> {
            None
        }

        fn has_more(&self) -> bool {
            false
        }

        fn merge_window(&self) -> Duration {
            Duration::ZERO
        }

        fn count_sent(&self, _bytes: usize) {}

        fn close(self, _reason: CloseReason) {}
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_little_all_the_time_is_not_too_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_reader, writer) = listener.accept().await.unwrap().0.into_split();
        let write_timeout = Duration::from_secs(60);
        let mut outgoing = Outgoing::default();
        outgoing.push(Bytes::from(vec![0; 64 << 20]));
        let mut members = [Member {
            id: 0,
            hand: Hand {
                writer,
                feed: Silence,
                outgoing,
                write_timeout,
            },
            told: oneshot::channel().0,
            stalled_since: None,
            ended: None,
            leaves: None,
        }];
        let start = Instant::now();
        assert!(members[0].serve(start, &mut ()).is_none());
        assert_eq!(members[0].stalled_since, Some(start));
        let mut space = vec![0; 64 << 10];
        let takes = async {
            loop {
                client.read_exact(&mut space).await.unwrap();
            }
        };
        tokio::select! {
            () = writable(&mut members) => {}
            () = takes => {}
        }
        let later = start + write_timeout;
        assert!(members[0].serve(later, &mut ()).is_none(), "it took something since");
    }
}
