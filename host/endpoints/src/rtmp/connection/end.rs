//! Why a connection is over, in the words of the log, the metrics and the hub.

use std::{fmt, io};

use wasmtx_hub::{CloseReason, PublishError};
use wasmtx_protocol::{flv, rtmp::server::Reason};

/// Why a connection is over.
pub(in super::super) enum End {
    /// The socket is gone.
    Socket(io::Error),
    /// The peer closed its side.
    Hangup,
    /// The machine closes.
    Machine(Reason),
    /// The stream or the permission is over, or the server stops.
    Stream(CloseReason),
    /// Through the API or a plugin, with its words.
    Kicked(String),
    /// A publisher sent more than these bits per second.
    Bitrate(u64),
    /// Its tags make no stream.
    Tags(flv::Error),
    /// A publisher sent nothing that tells what it publishes.
    NoTracks,
    /// What it publishes is not taken.
    Unpublishable(PublishError),
}

impl End {
    /// The same for somebody who does not publish. Players that quit leave bytes unread: their system resets the
    /// connection.
    pub(super) fn of_reader(self) -> End {
        match self {
            End::Socket(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Hangup,
            end => end,
        }
    }

    /// Whether the peer is there to hear a last word.
    pub(super) fn leaves_time(&self) -> bool {
        !matches!(self, End::Socket(_) | End::Hangup | End::Stream(CloseReason::TooSlow))
    }

    /// In the hub's words.
    pub(super) fn reason(&self) -> CloseReason {
        match self {
            End::Socket(_) | End::Tags(_) => CloseReason::Failed,
            End::Machine(Reason::Malformed(_)) => CloseReason::Failed,
            End::Hangup | End::Machine(Reason::Finished) => CloseReason::Ended,
            End::Machine(_) | End::NoTracks => CloseReason::Timeout,
            End::Stream(reason) => *reason,
            End::Kicked(_) | End::Bitrate(_) => CloseReason::Kicked,
            End::Unpublishable(_) => CloseReason::Other,
        }
    }

    /// The label under which it is counted, when it is the client's fault.
    pub(super) fn blame(&self) -> Option<&'static str> {
        Some(match self {
            End::Machine(Reason::Malformed(_)) => "malformed",
            End::Machine(Reason::Handshake) => "handshake-timeout",
            End::Machine(Reason::FirstQuestion) => "first-request-timeout",
            End::Machine(Reason::Flood) => "flood",
            End::Machine(Reason::NoMedia) => "no-media",
            End::Bitrate(_) => "bitrate",
            End::Tags(_) => "malformed",
            End::NoTracks => "no-tracks",
            _ => return None,
        })
    }

    /// The field `code` of the log.
    pub(super) fn code(&self) -> &'static str {
        self.blame().unwrap_or(match self {
            End::Socket(_) => "socket",
            End::Hangup => "hangup",
            End::Machine(Reason::Rejected) => "rejected",
            End::Machine(_) => "asked",
            End::Kicked(_) => "kicked",
            _ => "stream",
        })
    }

    /// Whether the operator should know who did that.
    pub(super) fn is_hostile(&self) -> bool {
        matches!(
            self,
            End::Machine(Reason::Malformed(_) | Reason::Flood) | End::Bitrate(_) | End::Tags(_)
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Socket(error) => error.fmt(f),
            End::Hangup => f.write_str("closed by the client"),
            End::Machine(reason) => reason.fmt(f),
            End::Stream(reason) => reason.fmt(f),
            End::Kicked(why) if why.is_empty() => CloseReason::Kicked.fmt(f),
            End::Kicked(why) => write!(f, "{}: {why}", CloseReason::Kicked),
            End::Bitrate(most) => write!(f, "it sends more than the {most} bits per second that it may"),
            End::Tags(error) => write!(f, "malformed media: {error}"),
            End::NoTracks => f.write_str("it publishes no track that can be read"),
            End::Unpublishable(error) => write!(f, "cannot publish: {error}"),
        }
    }
}
