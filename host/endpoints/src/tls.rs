//! TLS for every listener and outgoing connection.
