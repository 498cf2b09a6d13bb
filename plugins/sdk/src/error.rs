//! What a plugin answers when it cannot do what it was asked.

use crate::bindings::imports::wasmtx::plugin::types::ConfigError;
use crate::{Error, FrameError, http, kv, storage};

impl Error {
    /// The configuration reads well but makes no sense. `pointer` is a JSON pointer to the value below `config` (`/every`, `/rooms/0/size`, or nothing for
    /// the whole), which the server turns into file and line; `message` one sentence without a full stop.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Config(ConfigError {
            pointer: pointer.into(),
            message: message.into(),
        })
    }

    /// Anything else, in words.
    pub fn other(message: impl Into<String>) -> Self {
        Error::Other(message.into())
    }
}

/// Lets `?` end a call with what a service of the server answered, in words.
macro_rules! from_service {
    ($($service:literal: $error:ty),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::Other(format!(concat!($service, ": {}"), error.name()))
            }
        }
    )+};
}

from_service! { "frame": FrameError, "kv": kv::Error, "http": http::Error, "storage": storage::Error }
