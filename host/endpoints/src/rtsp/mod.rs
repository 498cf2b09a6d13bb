//! RTSP and RTSPS servers.

mod registry;

pub use registry::{Conn, Counter, Details, Registry, Session, State, Traffic};
