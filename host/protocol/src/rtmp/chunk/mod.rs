//! The chunk stream (RTMP 1.0 section 5.3): messages cut into chunks, and put together again.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// The chunk size of both directions until somebody announces another.
pub const DEFAULT_CHUNK_SIZE: u32 = 128;
/// What we announce: most frames fit into one chunk, and a large one is cut seldom.
pub const CHUNK_SIZE: u32 = 65_536;
/// A peer may not announce more than this.
pub const MAX_CHUNK_SIZE: u32 = 1 << 20;
/// A peer may use this many chunk streams. Encoders use four or five.
pub const MAX_STREAMS: usize = 64;
/// The messages that are begun and not ended may promise this many bytes together…
pub const MAX_PARTIAL: usize = 32 << 20;
/// … and this many before a peer was let in.
pub const MAX_PARTIAL_BEFORE_LOGIN: usize = 128 << 10;
/// The message stream that media is sent on: what our `createStream` gives first.
pub const MEDIA_STREAM: u32 = 1;

#[cfg(test)]
mod tests;
