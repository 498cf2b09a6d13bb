//! RTMP and RTMPS servers: one task per connection, all the words in `protocol::rtmp`.

mod registry;

pub use registry::{Conn, Counter, Details, Registry, State};
