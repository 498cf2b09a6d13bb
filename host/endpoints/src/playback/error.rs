//! Why a request gets no recording.

use std::io;

use wasmtx_media::Error as MediaError;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A parameter of the request, and what is wrong with it.
    #[error("invalid {0}: {1}")]
    Parameter(&'static str, String),
    /// The configuration has no entry for the path.
    #[error("path '{0}' is not configured")]
    UnknownPath(String),
    /// Nothing was recorded then.
    #[error("no recording segments found")]
    NotFound,
    /// A file, or the part of it that is needed, is there no more.
    #[error("the recording has been deleted")]
    Gone,
    /// A file is not what a recorder writes.
    #[error("recording not readable: {0}")]
    Media(#[from] MediaError),
    /// The disk's.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => Error::Gone,
            _ => Error::Io(error),
        }
    }
}
