//! What can be wrong with bytes that claim to be RTSP.

/// What is wrong with a message, a header or an SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first line is neither a request line nor a status line.
    #[error("bad start line")]
    StartLine,
    /// Another protocol or version.
    #[error("not RTSP/1.0")]
    Version,
    /// A header line without a colon, with a bad name, or with control characters.
    #[error("bad header line")]
    Header,
    /// A start line or header line above [`crate::rtsp::message::MAX_LINE`], a key above its bound, too many headers
    /// or too long a head.
    #[error("head too large")]
    HeadTooLarge,
    /// A body above [`crate::rtsp::message::MAX_BODY`].
    #[error("body too large")]
    BodyTooLarge,
    /// `Content-Length` is given twice or is no number.
    #[error("bad content length")]
    ContentLength,
    /// `CSeq` is missing or no number.
    #[error("bad or missing CSeq")]
    CSeq,
    /// Not an URL of this protocol, or one with broken percent-encoding.
    #[error("bad URL")]
    Url,
    /// A `Transport` header that cannot be read.
    #[error("bad Transport header")]
    Transport,
    /// A `Session` header that cannot be read.
    #[error("bad Session header")]
    Session,
    /// A `Range` header that cannot be read.
    #[error("bad Range header")]
    Range,
    /// An `RTP-Info` header that cannot be read.
    #[error("bad RTP-Info header")]
    RtpInfo,
    /// Credentials or a challenge that cannot be read.
    #[error("bad authentication header")]
    Auth,
    /// The SDP is not text, too long, or breaks the grammar.
    #[error("bad SDP")]
    Sdp,
    /// The SDP names more medias than [`crate::rtsp::sdp::MAX_MEDIAS`].
    #[error("too many medias")]
    TooManyMedias,
    /// The SDP names a clock rate of 0 or a payload type above 127.
    #[error("bad media format")]
    MediaFormat,
    /// Two medias of the SDP have the same control URL.
    #[error("two medias with one control URL")]
    DuplicateControl,
}
