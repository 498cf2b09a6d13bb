//! Streams that the server fetches itself.
