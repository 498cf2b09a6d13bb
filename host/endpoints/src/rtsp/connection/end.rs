//! Why a connection is over, in the words of the log, the metrics and the hub.

use std::{fmt, io};

use wasmtx_hub::CloseReason;
use wasmtx_protocol::rtsp::server::Reason;

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
            End::Socket(_) => CloseReason::Failed,
            End::Hangup => CloseReason::Ended,
            End::Machine(_) => CloseReason::Timeout,
            End::Stream(reason) => *reason,
            End::Kicked(_) | End::Bitrate(_) => CloseReason::Kicked,
        }
    }

    /// The label under which it is counted, when it is the client's fault.
    pub(super) fn blame(&self) -> Option<&'static str> {
        Some(match self {
            End::Machine(Reason::Malformed(_)) => "malformed",
            End::Machine(Reason::FirstRequest) => "first-request-timeout",
            End::Machine(Reason::SlowRequest) => "slow-request",
            End::Machine(Reason::Idle) => "idle",
            End::Machine(Reason::NoMedia) => "no-media",
            End::Machine(Reason::Pipeline) => "pipeline",
            End::Machine(Reason::UnknownChannels) => "unknown-channels",
            End::Bitrate(_) => "bitrate",
            _ => return None,
        })
    }

    /// The field `code` of the log.
    pub(super) fn code(&self) -> &'static str {
        self.blame().unwrap_or(match self {
            End::Socket(_) => "socket",
            End::Hangup => "hangup",
            End::Machine(_) => "asked",
            End::Kicked(_) => "kicked",
            End::Stream(_) | End::Bitrate(_) => "stream",
        })
    }

    /// Whether the operator should know who did that.
    pub(super) fn is_hostile(&self) -> bool {
        matches!(
            self,
            End::Machine(Reason::Malformed(_) | Reason::Pipeline | Reason::UnknownChannels) | End::Bitrate(_)
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
        }
    }
}
