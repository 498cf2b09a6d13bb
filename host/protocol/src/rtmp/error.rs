//! What can be wrong with bytes that claim to be RTMP.

/// What is wrong with a handshake, a chunk, a message or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte names another protocol, or an encrypted variant of this one.
    #[error("RTMP version {0} is not spoken here")]
    Version(u8),
    /// The handshake cannot be answered.
    #[error("bad handshake")]
    Handshake,
    /// More chunk streams than [`crate::rtmp::chunk::MAX_STREAMS`].
    #[error("more than {} chunk streams", crate::rtmp::chunk::MAX_STREAMS)]
    ChunkStreams,
    /// A chunk refers to a header that was never sent.
    #[error("chunk without a header before it")]
    NoHeader,
    /// A second header inside a message says something else than the first.
    #[error("header changed inside a message")]
    HeaderChanged,
    /// A chunk size of zero or above [`crate::rtmp::chunk::MAX_CHUNK_SIZE`].
    #[error("chunk size out of bounds")]
    ChunkSize,
    /// Begun messages above [`crate::rtmp::chunk::MAX_PARTIAL`], or above
    /// [`crate::rtmp::chunk::MAX_PARTIAL_BEFORE_LOGIN`] as long as nothing was accepted.
    #[error("messages too large")]
    MessageTooLarge,
    /// A protocol control message that is too short.
    #[error("bad control message")]
    Control,
    /// An aggregate message whose parts do not fit.
    #[error("bad aggregate message")]
    Aggregate,
    /// A value ends in the middle.
    #[error("AMF value cut off")]
    AmfTruncated,
    /// A marker that AMF0 does not have, or one whose value may not come over a wire.
    #[error("unknown AMF0 marker {0}")]
    AmfMarker(u8),
    /// Values nested deeper than [`crate::rtmp::amf0::MAX_DEPTH`].
    #[error("AMF values nested too deep")]
    AmfDepth,
    /// More values than [`crate::rtmp::amf0::MAX_VALUES`].
    #[error("too many AMF values")]
    AmfValues,
    /// A string above [`crate::rtmp::amf0::MAX_STRING`].
    #[error("AMF string too long")]
    AmfString,
    /// A value in AMF3, which nobody was told to send.
    #[error("AMF3 values are not spoken here")]
    Amf3,
    /// A command without a name or a transaction number.
    #[error("bad command")]
    Command,
    /// Not an RTMP URL.
    #[error("bad URL")]
    Url,
}
