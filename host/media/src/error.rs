//! Why a bitstream or a packet could not be understood.

/// What is wrong with bytes from outside. The reader of the bytes drops the unit and counts it; nothing is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the structure does.
    #[error("truncated")]
    Truncated,
    /// A field has a value that its specification forbids.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// Valid, but nothing that wasmtx can carry.
    #[error("unsupported {0}")]
    Unsupported(&'static str),
    /// Larger or more than the bound for it.
    #[error("too large: {0}")]
    TooLarge(&'static str),
}
