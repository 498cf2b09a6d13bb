//! RTMP 1.0 and the signalling of Enhanced RTMP v2: handshake, chunks, AMF0, the session machines of both sides.
//!
//! What a peer sends is read by parsers of our own, bounded before anything is stored; `rml_rtmp` makes the handshake
//! and writes chunks, `rml_amf0` writes values. The bodies of audio and video messages are FLV tags and pass through
//! here unread.

mod acknowledgements;
pub mod amf0;
mod capabilities;
pub mod chunk;
pub mod client;
mod command;
mod error;
mod handshake;
pub mod message;
pub mod server;

pub use capabilities::Capabilities;
pub use command::Command;
pub use error::Error;
pub use handshake::Handshake;
pub use message::{Kind, Message};
