//! Streams that the server fetches from another server.
