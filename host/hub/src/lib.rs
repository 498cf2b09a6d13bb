//! Where it meets: one publisher and many readers per path.
//!
//! A frame enters through a [`Publisher`], passes the path's [`Stage`] when there is one, and lands in the one ring of
//! its [`Publication`]. Every [`Reader`] is a cursor on that ring; publishing costs the same for one reader and for ten
//! thousand. What a protocol writes is made from the ring at most once per path, in a [`Lane`].
//!
//! Seams that other rooms fill: [`Stage`] (what happens to a frame on the way), [`Gate`] (who may publish or read),
//! [`Resolver`] (where a stream is that nobody publishes) and [`Form`] (how a protocol spells a frame). Nothing here knows a socket, a file or a plugin, and time is an argument.
#![forbid(unsafe_code)]

mod demand;
mod events;
mod gate;
mod hub;
mod keyframe;
mod lane;
mod name;
mod path;
mod peer;
mod publication;
mod reader;
mod resolver;
mod ring;
mod rules;
mod seat;
mod stage;
#[cfg(test)]
mod tests;

pub use demand::{Demand, Wanted};
pub use events::{Event, Events, Feed, Happened, Segment};
pub use gate::{Access, Action, Decision, Denial, Gate, Permit, Proof};
pub use hub::{Hub, PublishError, ReadError};
pub use lane::{Form, Lane};
pub use name::{InvalidName, PathName};
pub use path::{Counters, Path, PathConfig, PathStatus, ReaderStart, Role};
pub use peer::{Client, Peer, Protocol};
pub use publication::{CloseReason, News, Publication, Publisher};
pub use reader::{Drained, Reader, Standing};
pub use resolver::{Answer, Found, Resolver};
pub use ring::{Entry, Limits, MAX_TRACKS};
pub use rules::{InvalidRule, Rule, Rules};
pub use seat::{Notice, Notices};
pub use stage::{Flow, Opening, Output, Refusal, Stage, Stages};
